import assert from 'node:assert/strict';
import { test } from 'node:test';
import { failureTypes, isFailureType, ReverieFailure, rejected, verdicts } from '../../../contracts/failures.ts';
import { eventSchema } from '../../../contracts/trainer.ts';

test('every failure type has the verdict of the design', () => {
  assert.deepEqual(verdicts, {
    Preempted: 'retry',
    OutOfMemory: 'shrink',
    Diverged: 'roll-back',
    TrainerHung: 'retry-elsewhere',
    HardwareFault: 'retry-elsewhere',
    StoreUnavailable: 'retry',
    DiskFull: 'retry-elsewhere',
    TrainerCrashed: 'retry',
    NoProgress: 'park',
    CapReached: 'park',
    CheckpointLost: 'park',
    InvalidSpec: 'fail',
    DatasetRejected: 'fail',
    ModelRejected: 'fail',
    ArtifactMissing: 'retry',
  });
});

test('every incident that the trainer can report is a failure type', () => {
  const incident = eventSchema.options.find((option) => option.shape.type.value === 'incident');
  assert.ok(incident !== undefined && 'kind' in incident.shape);
  for (const kind of incident.shape.kind.options) assert.ok(isFailureType(kind), kind);
});

test('tells failure types from other names, those of every object included', () => {
  for (const type of failureTypes) assert.ok(isFailureType(type));
  for (const type of ['TimeoutError', 'toString', '__proto__', '', null, undefined]) {
    assert.ok(!isFailureType(type), String(type));
  }
});

test('a rejection carries its problems in message and details', () => {
  const failure = rejected('DatasetRejected', 'first', 'second');
  assert.ok(failure instanceof ReverieFailure);
  assert.equal(failure.type, 'DatasetRejected');
  assert.equal(failure.message, 'first\nsecond');
  assert.deepEqual(failure.details, { problems: ['first', 'second'] });
});
