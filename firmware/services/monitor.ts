// Answers the operator's shell and Director about what is configured and what is. Queries are a table: name -> answer.
import { UsageError } from '../../platform/errors.ts';
import { serveJson, type JsonServer } from '../../platform/unix-socket.ts';
import type { Service, ServiceStatus } from './service.ts';

export interface MonitorRequest {
  readonly query: string;
  readonly parameters: Readonly<Record<string, string>>;
}

/** May throw UsageError for parameters that name nothing. */
export type Query = (parameters: MonitorRequest['parameters']) => unknown;

export class MonitorService implements Service {
  readonly name = 'monitor';
  readonly #path: string;
  readonly #queries: ReadonlyMap<string, Query>;
  #server: JsonServer | undefined;

  constructor(path: string, queries: ReadonlyMap<string, Query>) {
    this.#path = path;
    this.#queries = queries;
  }

  async start(): Promise<void> {
    this.#server = await serveJson(this.#path, (request) => this.answer(request));
  }

  async stop(): Promise<void> {
    await this.#server?.close();
  }

  status(): ServiceStatus {
    return this.#server === undefined ? { state: 'down', detail: 'not started' } : { state: 'up', detail: '' };
  }

  answer(request: unknown): unknown {
    const { query, parameters } = checked(request);
    const found = this.#queries.get(query);
    if (found === undefined) throw new UsageError(`no query ${query}; known are ${[...this.#queries.keys()].join(', ')}`);
    return found(parameters);
  }
}

function checked(request: unknown): MonitorRequest {
  if (typeof request !== 'object' || request === null) throw new UsageError('a request is one JSON object');
  const { query, parameters = {} } = request as Partial<MonitorRequest>;
  if (typeof query !== 'string') throw new UsageError('a request names its query');
  if (typeof parameters !== 'object' || parameters === null) throw new UsageError('parameters are an object of texts');
  for (const value of Object.values(parameters)) if (typeof value !== 'string') throw new UsageError('parameters are texts');
  return { query, parameters };
}
