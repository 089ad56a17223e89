/** `npm run chaos`: TypeScript runs as it is, through tsx. */
import { register } from 'tsx/esm/api';

register();
await import('./main.ts');
