// Which tasks answer which exchange, in the order of their payloads.
import type { ExchangeName } from '../exchanges.ts';
import type { Task } from '../task.ts';
import { AuthAnswer } from './auth.ts';
import { ChildAnswer } from './child-answer.ts';
import { ConfigAnswer } from './config.ts';
import { InformationalAnswer } from './informational.ts';
import { InitAnswer } from './init.ts';
import { IkeRekeyAnswer } from './rekey.ts';

const RESPONDERS: Readonly<Record<ExchangeName, () => Task[]>> = {
  init: () => [new InitAnswer()],
  auth: () => [new AuthAnswer(), new ConfigAnswer(), new ChildAnswer('first')],
  'auth-childless': () => [new AuthAnswer(), new ConfigAnswer()],
  'rekey-ike': () => [new IkeRekeyAnswer()],
  'rekey-child': () => [new ChildAnswer('rekey')],
  'create-child': () => [new ChildAnswer('create')],
  informational: () => [new InformationalAnswer()],
};

export function responderTasks(name: ExchangeName): Task[] {
  return RESPONDERS[name]();
}
