// Loaded into a firmware before its own code: the host's clock has no battery, and begins in 1970 with the process.
import { SystemClock } from '../../platform/time.ts';

const unixMs = SystemClock.prototype.unixMs;
const startUnixMs = unixMs.call(new SystemClock());
SystemClock.prototype.unixMs = function () {
  return unixMs.call(this) - startUnixMs;
};
