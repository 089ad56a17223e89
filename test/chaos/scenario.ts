/** What a scenario is: one kind of fault, how it is injected, and what has to come of it. */
import type { Training } from './training.ts';
import type { Attempt } from './watch.ts';

export interface Setting {
  /** The store as a folder, or through `rclone serve s3`. */
  store: 'file' | 's3';
  /** GPU hosts with caches of their own. */
  hosts: number;
  /** Trainer processes of a host. */
  ranks: number;
  /** Null: to the bit. Otherwise the largest difference of a weight from the undisturbed run's. */
  tolerance: number | null;
}

/** What was done, and what has to come of it. */
export type Blow = Hit & (Death | Outage);

interface Hit {
  /** What exactly was hit. */
  detail: string;
  /** Unix time. */
  atMs: number;
  /** The newest step done by then. */
  step: number;
}

/** The attempt ends, and another one has to go on. */
export interface Death {
  /** The attempt that ends. What it still does before it is gone is no recovery. */
  struck: Attempt;
  /** Steps that it may resume from, both ends included. */
  resumesFrom: [low: number, high: number];
  maxStepsLost: number;
}

/** The trainer does not even stop for it. */
export interface Outage {
  /** Resolves when the run has had use of the service again. */
  recovered: () => Promise<void>;
}

export interface Scenario {
  /** The fault. */
  name: string;
  about: string;
  setting: Setting;
  /** From the fault to the next new step, at most. */
  limitSeconds: number;
  /** How often the short form injects it. */
  short: number;
  /** Injects one at a moment of its own choice and sees that it fired; throws TooLate when the training ends before. */
  inject(training: Training): Promise<Blow>;
}

/** The training was over, or nearly, before the moment came: the fault is injected into the next one. */
export class TooLate extends Error {}

/** Nothing is shared but Temporal and the bucket. */
export const twoHosts: Setting = { store: 's3', hosts: 2, ranks: 1, tolerance: null };
export const oneHost: Setting = { store: 'file', hosts: 1, ranks: 1, tolerance: null };

/** Temporal takes a silent worker for dead after this. */
export const HEARTBEAT_SECONDS = 5;
