import { deepStrictEqual, rejects } from 'node:assert/strict';
import { startAll, stopAll } from '../../firmware/services/lifecycle.ts';
import type { Service } from '../../firmware/services/service.ts';
import { MemorySink, SinkLog } from '../../platform/log.ts';

function make(): { story: string[]; sink: MemorySink; log: SinkLog; service(name: string, failing?: 'start' | 'stop'): Service } {
  const story: string[] = [];
  const sink = new MemorySink();
  const run = (name: string, what: 'start' | 'stop', failing: string | undefined) => async (): Promise<void> => {
    story.push(`${what} ${name}`);
    if (what === failing) throw new Error(`${name} cannot ${what}`);
  };
  const service = (name: string, failing?: 'start' | 'stop'): Service => ({ name, start: run(name, 'start', failing), stop: run(name, 'stop', failing), status: () => ({ state: 'up', detail: '' }) });
  return { story, sink, log: new SinkLog([sink], () => 0), service };
}

describe('services/lifecycle', () => {
  it('starts in order and stops in reverse', async () => {
    const { story, log, service } = make();
    const services = [service('a'), service('b')];
    await startAll(services, log.channel('service'));
    await stopAll(services, log.channel('service'));
    deepStrictEqual(story, ['start a', 'start b', 'stop b', 'stop a']);
  });

  it('stops what has begun when a service cannot start', async () => {
    const { story, sink, log, service } = make();
    await rejects(startAll([service('a'), service('b', 'start'), service('c')], log.channel('service')), /b cannot start/);
    deepStrictEqual(story, ['start a', 'start b', 'stop b', 'stop a']);
    deepStrictEqual(sink.records.map(({ sentence, fields }) => [sentence, fields['cause']]), [['service did not start', 'b cannot start']]);
  });

  it('stops the others when one cannot stop', async () => {
    const { story, log, service } = make();
    await stopAll([service('a'), service('b', 'stop')], log.channel('service'));
    deepStrictEqual(story, ['stop b', 'stop a']);
  });
});
