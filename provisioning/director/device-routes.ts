// What branches and Controllers may ask for. Before a device has a certificate: enrolment and the certificate itself,
// each with its own proof. After that the certificate says whose documents `self` is.
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { Type } from 'typebox';
import { after } from '../../platform/time.ts';
import { Address, Identity, Serial } from '../ztp/schema.ts';
import type { Alarm } from '../../platform/alarms.ts';
import { tellAlarms } from './alarms.ts';
import { requireDevice } from './caller.ts';
import { listedRevocations } from './certificates.ts';
import type { DirectorContext } from './context.ts';
import { deviceSoftwareRoutes } from './device-software-routes.ts';
import { directivesAfter } from './directives.ts';
import { branchConnect, branchFailed, bundleFor, certifyBranch, configurationFor, deviceProgress, directory, enrolController, renewCertificate } from './onboarding.ts';
import type { BranchConnectReport, BranchFailedReport, ProgressReport } from './onboarding.ts';
import { RateLimit } from './rate-limit.ts';
import { refusal } from './refusal.ts';

const CLOSED = { additionalProperties: false } as const;
/** A poll is answered by then at the latest, so that a dead connection is noticed. */
const LONG_POLL_MS = 25_000;
const LONGEST_MESSAGE = 500;
const REPORTS_PER_REQUEST = 50;
const ALARMS_PER_BOX = 500;

const Base64 = Type.String({ pattern: '^[A-Za-z0-9+/]+={0,2}$', maxLength: 8192, description: 'base64' });
const ReportId = Type.String({ pattern: '^[A-Za-z0-9_-]{8,64}$', description: '8 to 64 of A-Z a-z 0-9 _ -' });
const Message = Type.String({ maxLength: LONGEST_MESSAGE });
const EnrolBody = Type.Object({ token: Type.String({ minLength: 1, maxLength: 200 }), serial: Serial, csr: Base64 }, CLOSED);
const CertificateBody = Type.Object({ serial: Serial, identity: Identity, csr: Base64, proof: Base64 }, CLOSED);
const RenewalBody = Type.Object({ csr: Base64 }, CLOSED);
const ProgressBody = Type.Object(
  {
    reports: Type.Array(
      Type.Object(
        {
          step: Type.Union([Type.Literal('config'), Type.Literal('software'), Type.Literal('post-staging')]),
          state: Type.Union([Type.Literal('started'), Type.Literal('completed'), Type.Literal('failed')]),
          message: Message,
          nextStep: Type.Optional(Message),
          percentage: Type.Optional(Type.Integer({ minimum: 0, maximum: 100 })),
        },
        CLOSED,
      ),
      { minItems: 1, maxItems: REPORTS_PER_REQUEST },
    ),
  },
  CLOSED,
);
const BranchConnectBody = Type.Object(
  {
    reportId: ReportId,
    serial: Serial,
    tenant: Type.Integer({ minimum: 1, maximum: 0xffff_ffff }),
    identity: Identity,
    observed: Type.Object({ address: Address, port: Type.Integer({ minimum: 0, maximum: 65_535 }) }, CLOSED),
    temporaryAddress: Address,
  },
  CLOSED,
);
const BranchFailedBody = Type.Object(
  {
    reportId: ReportId,
    step: Type.Union([Type.Literal('ike'), Type.Literal('branch-connect'), Type.Literal('post-staging')]),
    serial: Type.Optional(Serial),
    identity: Type.Optional(Identity),
    cause: Message,
    nextStep: Message,
  },
  CLOSED,
);
const AlarmsBody = Type.Object(
  {
    alarms: Type.Array(
      Type.Object(
        {
          name: Type.String({ pattern: '^[a-z0-9-]{1,60}$', description: 'lower-case words with hyphens' }),
          object: Type.String({ maxLength: 200 }),
          severity: Type.Union([Type.Literal('critical'), Type.Literal('major'), Type.Literal('minor'), Type.Literal('warning')]),
          cause: Message,
          nextStep: Message,
          sinceUnixMs: Type.Number({ minimum: 0 }),
        },
        CLOSED,
      ),
      { maxItems: ALARMS_PER_BOX },
    ),
  },
  CLOSED,
);
const Digits = Type.Optional(Type.String({ pattern: '^[0-9]{1,16}$', description: 'a number' }));
const BundleQuery = Type.Object({ after: Digits });
const DirectoryQuery = Type.Object({ after: Digits, directive: Digits, configuration: Digits });

interface DirectoryQueryText {
  Querystring: { after?: string; directive?: string; configuration?: string };
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64');
}

function firstContactRoutes(app: FastifyInstance, context: DirectorContext): void {
  app.post<{ Body: { token: string; serial: string; csr: string } }>('/enrol', { schema: { body: EnrolBody } }, async (request) => {
    const { chain, bundle } = await enrolController(context, request.body.token, request.body.serial, Buffer.from(request.body.csr, 'base64'));
    return { certificateChain: chain.map(base64), bundle: base64(bundle) };
  });
  app.post<{ Body: { serial: string; identity: string; csr: string; proof: string } }>('/devices/certificate', { schema: { body: CertificateBody } }, async (request) => {
    const { serial, identity, csr, proof } = request.body;
    const chain = await certifyBranch(context, { serial, identity, csr: Buffer.from(csr, 'base64'), proof: Buffer.from(proof, 'base64') });
    return { certificateChain: chain.map(base64) };
  });
  // A revocation list is signed, and says nothing that a device may not know.
  app.get('/crl', async (_request, reply) => {
    const crl = await context.authority.crl(await listedRevocations(context));
    return reply.type('application/pkix-crl').send(Buffer.from(crl));
  });
}

function selfRoutes(app: FastifyInstance, context: DirectorContext): void {
  app.get<{ Querystring: { after?: string } }>('/devices/self/bundle', { schema: { querystring: BundleQuery } }, async (request, reply) => {
    const site = await requireDevice(context, request);
    const bundle = await bundleFor(context, site.site_id);
    if (bundle.generation <= Number(request.query.after ?? 0)) return reply.code(204).send();
    return reply.type('application/json').send(Buffer.from(bundle.bytes));
  });
  app.post<{ Body: { csr: string } }>('/devices/self/certificate', { schema: { body: RenewalBody } }, async (request) => {
    const site = await requireDevice(context, request);
    return { certificateChain: (await renewCertificate(context, site, Buffer.from(request.body.csr, 'base64'))).map(base64) };
  });
  app.post<{ Body: { reports: ProgressReport[] } }>('/devices/self/progress', { schema: { body: ProgressBody } }, async (request, reply) => {
    await deviceProgress(context, await requireDevice(context, request, 'branch'), request.body.reports);
    return reply.code(204).send();
  });
  app.post<{ Body: { alarms: Alarm[] } }>('/devices/self/alarms', { schema: { body: AlarmsBody } }, async (request, reply) => {
    await tellAlarms(context, await requireDevice(context, request), request.body.alarms);
    return reply.code(204).send();
  });
}

/** Answers as soon as anything is newer than what the Controller has, and after 25 s with what is there. */
async function pollDirectory(context: DirectorContext, request: FastifyRequest<DirectoryQueryText>): Promise<unknown> {
  const has = { directory: Number(request.query.after ?? 0), directive: Number(request.query.directive ?? 0), configuration: Number(request.query.configuration ?? 0) };
  const until = after(context.clock.now(), LONG_POLL_MS);
  for (;;) {
    // Who waits now is asked again: a revoked Controller must not get the next directory.
    const site = await requireDevice(context, request, 'controller');
    // Waiting starts before looking, so that a change in between is not slept through.
    const changed = context.changes.wait(until - context.clock.now());
    const newest = await directory(context);
    const directives = await directivesAfter(context, has.directive);
    const configurationGeneration = (await configurationFor(context, site.site_id)).generation;
    const isNews = newest.generation > has.directory || directives.length > 0 || configurationGeneration > has.configuration;
    if (isNews || context.clock.now() >= until || context.changes.closed || request.raw.destroyed) {
      return { directory: newest.generation > has.directory ? newest : null, directives, configurationGeneration };
    }
    await changed;
  }
}

function controllerRoutes(app: FastifyInstance, context: DirectorContext): void {
  app.get<DirectoryQueryText>('/controllers/self/directory', { schema: { querystring: DirectoryQuery } }, async (request) => pollDirectory(context, request));
  app.post<{ Body: BranchConnectReport }>('/branch-connect', { schema: { body: BranchConnectBody } }, async (request) => {
    const controller = await requireDevice(context, request, 'controller');
    return { task: await branchConnect(context, controller.name, request.body) };
  });
  app.post<{ Body: BranchFailedReport }>('/branch-failed', { schema: { body: BranchFailedBody } }, async (request) => {
    const controller = await requireDevice(context, request, 'controller');
    return { task: (await branchFailed(context, controller.name, request.body)) ?? null };
  });
}

/** Registers everything that devices use, below `/api/v1`. */
export async function deviceRoutes(app: FastifyInstance, context: DirectorContext): Promise<void> {
  const limit = new RateLimit(context.clock);
  app.addHook('onRequest', async (request: FastifyRequest, _reply: FastifyReply) => {
    if (!limit.take(request.ip)) throw refusal('rate-limited', `too many requests from ${request.ip}`, 'wait some seconds and try again');
  });
  await app.register(
    async (scope) => {
      firstContactRoutes(scope, context);
      selfRoutes(scope, context);
      deviceSoftwareRoutes(scope, context);
      controllerRoutes(scope, context);
    },
    { prefix: '/api/v1' },
  );
}
