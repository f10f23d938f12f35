import { deepStrictEqual } from 'node:assert/strict';
import type { IkeProfile } from '../../firmware/ike/profile.ts';
import { watchLegacy } from '../../firmware/services/legacy-alarm.ts';
import { Alarms } from '../../platform/alarms.ts';
import { SinkLog } from '../../platform/log.ts';
import { pskProfile } from '../ike/pair.ts';

function profile(name: string, legacy?: boolean): IkeProfile {
  return { ...pskProfile('', 'a@x.example', undefined, legacy === undefined ? {} : { legacy }), name };
}

describe('services/legacy alarm', () => {
  it('lasts for each profile as long as its option is on', () => {
    const alarms = new Alarms(new SinkLog([], () => 0).channel('alarms'), () => 0);
    const objects = (): string[] => alarms.active().map(({ name, object }) => `${name} ${object}`);
    let alarmed = watchLegacy(alarms, new Set(), [profile('one'), profile('two', true), profile('three', false), profile('four', true)]);
    deepStrictEqual(objects(), ['legacy-algorithms two', 'legacy-algorithms four']);
    alarmed = watchLegacy(alarms, alarmed, [profile('one'), profile('two', false), profile('four', true)]);
    deepStrictEqual(objects(), ['legacy-algorithms four']);
    watchLegacy(alarms, alarmed, []);
    deepStrictEqual(objects(), []);
  });
});
