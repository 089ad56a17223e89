# syntax=docker/dockerfile:1
# The GPU worker with its trainer: docker build -f infra/images/gpu.Dockerfile -t reverie-gpu .
# PyTorch's wheel brings CUDA's libraries; the driver is the host's.
FROM node:20.20.2-bookworm-slim AS node
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci --omit=dev --no-audit --no-fund

FROM python:3.12.12-slim-bookworm AS python
WORKDIR /src
COPY trainer/pyproject.toml trainer/constraints.txt ./
COPY trainer/dream_trainer dream_trainer
RUN python -m venv /venv && /venv/bin/pip install --no-cache-dir -c constraints.txt .

FROM python:3.12.12-slim-bookworm
ENV NODE_ENV=production REVERIE_PYTHON=/venv/bin/python REVERIE_CACHE_DIR=/cache \
    REVERIE_HEALTH_ADDRESS=0.0.0.0:8464 REVERIE_METRICS_ADDRESS=0.0.0.0:9464
WORKDIR /app
COPY --from=node /usr/local/bin/node /usr/local/bin/node
COPY --from=python /venv /venv
COPY --from=node /app/node_modules node_modules
COPY package.json ./
COPY contracts contracts
COPY activities activities
COPY workers workers
COPY workflows workflows
COPY trainer trainer
RUN useradd --uid 1000 --no-create-home reverie && mkdir /cache && chown reverie /cache
USER 1000:1000
VOLUME /cache
EXPOSE 8464 9464
STOPSIGNAL SIGTERM
ENTRYPOINT ["node", "--import", "tsx", "workers/main.ts", "gpu"]
CMD ["--grace-seconds", "110"]
