// A process that logs as the appliance does and never pauses: numbered lines into the directory of its argument, files
// reopened on SIGHUP, the last number on standard output at its end.
import { FileSink } from '../../platform/log-file.ts';
import { SinkLog } from '../../platform/log.ts';
import { handleSignals } from '../../platform/host.ts';
import { sleep, SystemClock } from '../../platform/time.ts';

const LINES_AT_ONCE = 40;

const clock = new SystemClock();
const sink = new FileSink(process.argv[2]!);
const log = new SinkLog([sink], () => clock.unixMs());
const channels = [log.channel('service'), log.channel('ipsec')] as const;
const progress = { line: 0, stopped: false };

handleSignals({ onStop: () => (progress.stopped = true), onReload: () => log.reopen() });
while (!progress.stopped) {
  for (let i = 0; i < LINES_AT_ONCE; i++) {
    progress.line++;
    for (const channel of channels) channel.info('line written', { line: progress.line });
  }
  await sleep(1);
}
process.stdout.write(`${progress.line} ${sink.lost}\n`);
process.exit(0);
