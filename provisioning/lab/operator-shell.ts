// The operator's shell of a lab's node, asked as an operator would: `selvage --json COMMAND` inside the node.
import { fileURLToPath } from 'node:url';
import { OperationalError } from '../../platform/errors.ts';
import type { LabNetwork } from './network.ts';

const SHELL = fileURLToPath(new URL('../../firmware/shell/main.ts', import.meta.url));
const MONITOR_SOCKET = '/run/selvage/monitor.sock';
const ANSWER_TIMEOUT_MS = 20_000;

export interface OperatorShell {
  /** The answer to a command as data. Rejects with OperationalError when the node refuses or does not answer. */
  ask<T>(node: string, command: string): Promise<T>;
}

export function operatorShell(network: Pick<LabNetwork, 'node'>): OperatorShell {
  return {
    async ask<T>(node: string, command: string): Promise<T> {
      const argv = [process.execPath, '--disable-warning=ExperimentalWarning', SHELL, '--socket', MONITOR_SOCKET, '--json', command];
      const result = network.node(node).attempt(argv, ANSWER_TIMEOUT_MS);
      if (result.error !== undefined || result.status !== 0) {
        const said = result.error?.message ?? result.stderr.trim();
        throw new OperationalError('shell-refused', `${node} to "${command}": ${said}`, `Read ${network.node(node).directory}/log`);
      }
      return JSON.parse(result.stdout) as T;
    },
  };
}
