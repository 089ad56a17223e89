/** What the workflow bundle exports: each function is a workflow type. */
export { fineTune } from './fine-tune.ts';
