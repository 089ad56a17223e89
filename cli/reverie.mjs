#!/usr/bin/env node
/** The `reverie` command: TypeScript runs as it is, through tsx. */
import { register } from 'tsx/esm/api';

register();
await import('./reverie.ts');
