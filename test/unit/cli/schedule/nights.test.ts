import assert from 'node:assert/strict';
import { test } from 'node:test';
import { aboutParking, withParkDeadline } from '../../../../cli/schedule/nights.ts';
import { checkTimeZone, durationMs, shortestGapMs } from '../../../../cli/schedule/timing.ts';

const DAY_MS = 24 * 3600_000;

test('lets a parked night expire before the next one, unless the spec says how long it waits', () => {
  assert.equal(withParkDeadline({}, DAY_MS).policy?.parkDeadlineHours, 12);
  assert.equal(withParkDeadline({ policy: { priority: 1 } }, 30 * DAY_MS).policy?.parkDeadlineHours, 72);
  const own = { policy: { parkDeadlineHours: 100 } };
  assert.equal(withParkDeadline(own, DAY_MS), own);
  assert.match(aboutParking(own, DAY_MS), /expires after 100 h .* not less than the 24 h between nights: it delays/);
  assert.doesNotMatch(aboutParking(withParkDeadline({}, DAY_MS), DAY_MS), /delays/);
});

test('takes the shortest time between nights', () => {
  const days = [1, 2, 5].map((day) => new Date(day * DAY_MS));
  assert.equal(shortestGapMs(days), DAY_MS);
  assert.equal(shortestGapMs(days.slice(0, 1)), null);
});

test('reads durations with their unit, and zones of the IANA database', () => {
  assert.deepEqual(
    ['90s', '5m', '6h', '1d'].map((text) => durationMs('--jitter', text)),
    [90_000, 300_000, 21_600_000, DAY_MS],
  );
  for (const text of ['5', '-5m', '1.5h', 'soon', ''])
    assert.throws(() => durationMs('--jitter', text), /^.*--jitter is .*; expected .*; correct it/);
  for (const zone of ['UTC', 'Europe/Berlin', 'Asia/Kolkata']) checkTimeZone(zone);
  assert.throws(() => checkTimeZone('Europe/Berln'), /unknown; expected .*; did you mean Europe\/Berlin\?/);
});
