// Director's HTTPS API: one Fastify server, TLS 1.2 or later. A client certificate is asked for and never required by
// TLS itself; each route says who may call it. Every error leaves as { error: { code, message, nextStep } }.
import fastify from 'fastify';
import type { FastifyError, FastifyInstance } from 'fastify';
import type { TSchema } from 'typebox';
import { ConfigError } from '../../platform/errors.ts';
import { encodePem } from '../../platform/pem.ts';
import { after } from '../../platform/time.ts';
import type { Authority as ServerIdentity } from '../../platform/x509.ts';
import { documentCheck } from '../ztp/schema.ts';
import type { DirectorContext } from './context.ts';
import { deviceRoutes } from './device-routes.ts';
import { operatorRoutes } from './operator-routes.ts';
import { refusalStatus } from './refusal.ts';

const LARGEST_BODY_BYTES = 256 * 1024;
/** From the headers to the end of the body; uploads have a limit of their own. */
const BODY_TIMEOUT_MS = 15_000;
const KEEP_ALIVE_MS = 30_000;
const HEADERS_TIMEOUT_MS = 10_000;
/** Sites, their polls and some operators; more at once is not this Director's load but an attack. */
const CONNECTION_LIMIT = 4096;

export interface ErrorBody {
  readonly error: { readonly code: string; readonly message: string; readonly nextStep: string };
}

function errorBody(code: string, message: string, nextStep: string): ErrorBody {
  return { error: { code, message, nextStep } };
}

function answerError(context: DirectorContext, error: FastifyError | Error): { readonly status: number; readonly body: ErrorBody } {
  const status = refusalStatus(error);
  if (status !== undefined) {
    const { code, nextStep } = error as FastifyError & { nextStep: string };
    return { status, body: errorBody(code, error.message, nextStep) };
  }
  const cause = 'cause' in error && error.cause instanceof ConfigError ? error.cause : error;
  if (cause instanceof ConfigError) return { status: 400, body: errorBody('invalid', cause.message, `correct ${cause.problem.key} and send the request again`) };
  const code = 'statusCode' in error ? (error.statusCode ?? 500) : 500;
  if (code === 413) return { status: 413, body: errorBody('too-large', `the request is larger than ${LARGEST_BODY_BYTES} octets`, 'send less in one request') };
  if (code >= 400 && code < 500) return { status: code, body: errorBody('invalid', 'the request is not readable as JSON for this route', 'send a JSON body with content type application/json') };
  context.log.error('API request failed', { error: error.name, message: error.message });
  return { status: 500, body: errorBody('internal', 'Director could not do this', "look for 'API request failed' in Director's log") };
}

/** Whoever sends a body more slowly than it takes to read it holds a connection for nothing. */
function limitBodies(app: FastifyInstance, { clock }: DirectorContext): void {
  app.addHook('onRequest', async ({ raw, routeOptions }) => {
    if ((routeOptions.config as { isUpload?: boolean } | undefined)?.isUpload === true) return;
    const cancel = clock.at(after(clock.now(), BODY_TIMEOUT_MS), () => {
      if (!raw.complete) raw.socket.destroy();
    });
    raw.once('close', cancel);
  });
}

/** The server with all routes, not listening yet. */
export async function createApi(context: DirectorContext, identity: ServerIdentity): Promise<FastifyInstance> {
  const app = fastify({
    https: {
      cert: encodePem('CERTIFICATE', identity.certificate) + encodePem('CERTIFICATE', context.authority.anchor),
      key: encodePem('PRIVATE KEY', identity.privateKey),
      ca: encodePem('CERTIFICATE', context.authority.anchor),
      minVersion: 'TLSv1.2',
      requestCert: true,
      rejectUnauthorized: false,
    },
    bodyLimit: LARGEST_BODY_BYTES,
    // Node's limit would hold for uploads, too.
    requestTimeout: 0,
    keepAliveTimeout: KEEP_ALIVE_MS,
    forceCloseConnections: true,
    logger: false,
    exposeHeadRoutes: false,
    routerOptions: { maxParamLength: 200 },
  }) as unknown as FastifyInstance;
  app.server.maxConnections = CONNECTION_LIMIT;
  app.server.headersTimeout = HEADERS_TIMEOUT_MS;
  limitBodies(app, context);
  app.setValidatorCompiler<TSchema>(({ schema, httpPart }) => {
    const check = documentCheck<unknown>(httpPart ?? 'request', schema);
    return (value: unknown) => ({ value: check(value) });
  });
  app.setErrorHandler(async (error: FastifyError, _request, reply) => {
    const { status, body } = answerError(context, error);
    return reply.code(status).send(body);
  });
  app.setNotFoundHandler(async (_request, reply) => reply.code(404).send(errorBody('not-found', 'there is no such route', 'check method and path of the request')));
  await app.register(async (scope) => operatorRoutes(scope, context));
  await app.register(async (scope) => deviceRoutes(scope, context));
  return app;
}
