// Which tasks answer which exchange, in the order of their payloads.
import type { ExchangeName } from '../exchanges.ts';
import type { Task } from '../task.ts';
import { AuthAnswer } from './auth.ts';
import { ChildAnswer } from './child-answer.ts';
import { ConfigAnswer } from './config.ts';
import { EapAnswer, EapFirstAnswer, EapLastAnswer } from './eap-answer.ts';
import { FollowupAnswer } from './followup.ts';
import { InformationalAnswer } from './informational.ts';
import { InitAnswer } from './init.ts';
import { IntermediateAnswer } from './intermediate.ts';
import { MobikeAnswer, MobikeSupport } from './mobike.ts';
import { IkeRekeyAnswer } from './rekey.ts';

const RESPONDERS: Readonly<Record<ExchangeName, () => Task[]>> = {
  init: () => [new InitAnswer()],
  intermediate: () => [new IntermediateAnswer()],
  auth: () => [new AuthAnswer(), new ConfigAnswer(), new MobikeSupport(), new ChildAnswer('first')],
  'eap-first': () => [new EapFirstAnswer()],
  eap: () => [new EapAnswer()],
  'eap-last': () => [new EapLastAnswer()],
  'auth-childless': () => [new AuthAnswer(), new ConfigAnswer(), new MobikeSupport()],
  'rekey-ike': () => [new IkeRekeyAnswer()],
  'rekey-child': () => [new ChildAnswer('rekey')],
  'create-child': () => [new ChildAnswer('create')],
  followup: () => [new FollowupAnswer()],
  informational: () => [new InformationalAnswer(), new MobikeAnswer()],
};

export function responderTasks(name: ExchangeName): Task[] {
  return RESPONDERS[name]();
}
