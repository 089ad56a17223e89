/** `npm run bench`: TypeScript runs as it is, through tsx. */
import { register } from 'tsx/esm/api';

// As in workers: Node 20 is supported here for longer than by the AWS SDK.
process.env.AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED ??= 'true';
register();
// Workers and server go when this process exits; a signal alone would leave them.
process.once('SIGINT', () => process.exit(130));
process.once('SIGTERM', () => process.exit(143));
await import('./scale.ts');
