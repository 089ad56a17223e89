/** Notices of any other scheduler: whoever learns of one makes a file, and takes it away when it is over. */
import { access } from 'node:fs/promises';
import type { NoticeSource } from '../notices.ts';

const EVERY_MS = 1000;

export const fileNotices = (file: string): NoticeSource => ({
  everyMs: EVERY_MS,
  look: () =>
    access(file).then(
      () => ({ told: `${file} exists`, at: null }),
      () => null,
    ),
});
