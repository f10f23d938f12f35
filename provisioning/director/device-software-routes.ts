// What a box asks for about its own software: which version it should run, an order of an operator, and the octets of a
// package, part by part (RFC 9110 14: one range per request).
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { Type } from 'typebox';
import { DEFAULT_BYTES_PER_SECOND } from '../ztp/software-messages.ts';
import type { OrderReport } from '../ztp/software-messages.ts';
import { requireDevice } from './caller.ts';
import type { DirectorContext } from './context.ts';
import { packageBySha256, packageFor } from './packages.ts';
import { Sha256, Version } from './software-routes.ts';
import type { Db, SiteTable } from './store/tables.ts';
import { orderFor, upgradeReported } from './upgrades.ts';

const LONGEST_MESSAGE = 500;
const Message = Type.String({ maxLength: LONGEST_MESSAGE });
const SoftwareQuery = Type.Object({ running: Type.Optional(Version), compatible: Type.Optional(Type.String({ pattern: '^[A-Za-z0-9._+-]{1,64}$', description: 'product and architecture' })) });
const PackageParams = Type.Object({ sha256: Sha256 });
const REPORTED = ['downloading', 'installing', 'rebooting', 'on-trial', 'good', 'returned', 'refused', 'failed'] as const;
const ReportBody = Type.Object(
  {
    order: Type.Integer({ minimum: 1, maximum: 9_999_999_999 }),
    state: Type.Union(REPORTED.map((state) => Type.Literal(state))),
    percentage: Type.Optional(Type.Integer({ minimum: 0, maximum: 100 })),
    cause: Type.Optional(Message),
    nextStep: Type.Optional(Message),
  },
  { additionalProperties: false },
);

interface SoftwareQueryText {
  Querystring: { running?: string; compatible?: string };
}

/** The wanted version with its package, and what an operator ordered. */
async function softwareOf(context: DirectorContext, { site_id }: SiteTable, { running, compatible }: SoftwareQueryText['Querystring']): Promise<unknown> {
  return context.db.transaction().execute(async (db: Db) => {
    const known = await db.selectFrom('sites').selectAll().where('site_id', '=', site_id).executeTakeFirstOrThrow();
    const told = running === undefined ? {} : { running_version: running, compatible: compatible ?? null };
    const site = { ...known, ...told };
    // Every box asks every minute.
    if (site.running_version !== known.running_version || site.compatible !== known.compatible) await db.updateTable('sites').set(told).where('site_id', '=', site_id).execute();
    const version = site.software_version ?? context.settings.softwareVersion;
    const found = compatible === undefined ? undefined : await packageFor(db, compatible, version);
    const { createdUnixMs: _, ...wanted } = found ?? { createdUnixMs: 0 };
    return { version, bytesPerSecond: DEFAULT_BYTES_PER_SECOND, package: found ? wanted : null, order: (await orderFor(context, db, site, running)) ?? null };
  });
}

const RANGE = /^bytes=(\d{1,15})-(\d{1,15})?$/;

/** Sends the part that is asked for, or all of it. */
async function sendPackage(context: DirectorContext, request: FastifyRequest, reply: FastifyReply, sha256: string): Promise<FastifyReply> {
  const { bytes } = await packageBySha256(context.db, sha256);
  const range = RANGE.exec(request.headers.range ?? '');
  const first = Number(range?.[1] ?? 0);
  const last = Math.min(bytes - 1, Number(range?.[2] ?? bytes - 1));
  if (first > last) return reply.code(416).header('content-range', `bytes */${bytes}`).send({ error: { code: 'range', message: `the package has ${bytes} octets`, nextStep: 'ask for octets that are there' } });
  reply.header('accept-ranges', 'bytes').header('content-length', last - first + 1).type('application/octet-stream');
  if (range) reply.code(206).header('content-range', `bytes ${first}-${last}/${bytes}`);
  return reply.send(context.packages.read(sha256, first, last));
}

export function deviceSoftwareRoutes(app: FastifyInstance, context: DirectorContext): void {
  app.get<SoftwareQueryText>('/devices/self/software', { schema: { querystring: SoftwareQuery } }, async (request) => softwareOf(context, await requireDevice(context, request), request.query));
  app.get<{ Params: { sha256: string } }>('/devices/self/software/:sha256', { schema: { params: PackageParams } }, async (request, reply) => {
    await requireDevice(context, request);
    return sendPackage(context, request, reply, request.params.sha256);
  });
  app.post<{ Body: OrderReport }>('/devices/self/upgrade', { schema: { body: ReportBody } }, async (request, reply) => {
    await upgradeReported(context, await requireDevice(context, request), request.body);
    return reply.code(204).send();
  });
}
