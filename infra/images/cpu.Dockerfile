# syntax=docker/dockerfile:1
# The CPU worker and the command line: docker build -f infra/images/cpu.Dockerfile -t reverie-cpu .
FROM node:20.20.2-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --omit=dev --no-audit --no-fund
COPY contracts contracts
COPY workflows workflows
COPY activities activities
COPY workers workers
COPY cli cli
COPY infra/demo infra/demo
COPY infra/specs infra/specs
RUN node --import tsx workers/bundle.ts

FROM node:20.20.2-bookworm-slim
ENV NODE_ENV=production REVERIE_CACHE_DIR=/cache REVERIE_HEALTH_ADDRESS=0.0.0.0:8464 REVERIE_METRICS_ADDRESS=0.0.0.0:9464
WORKDIR /app
COPY --from=build /app /app
RUN mkdir /cache && chown node:node /cache
USER 1000:1000
VOLUME /cache
EXPOSE 8464 9464
STOPSIGNAL SIGTERM
ENTRYPOINT ["node", "--import", "tsx"]
CMD ["workers/main.ts", "cpu"]
