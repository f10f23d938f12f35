// What operators ask for about software: the packages that Director keeps, and upgrades of boxes.
import type { IncomingMessage } from 'node:http';
import type { FastifyInstance } from 'fastify';
import { Type } from 'typebox';
import { Name } from '../ztp/schema.ts';
import type { DirectorContext } from './context.ts';
import { listPackages } from './packages.ts';
import { taskById } from './tasks.ts';
import { cancelUpgrade, orderUpgrade } from './upgrades.ts';
import type { UpgradeRequest } from './upgrades.ts';

const CLOSED = { additionalProperties: false } as const;
const MOST_SITES = 1000;
const MOST_WAVES = 100;

export const Sha256 = Type.String({ pattern: '^[0-9a-f]{64}$', description: 'lower-case hex of 32 octets' });
export const Version = Type.String({ pattern: '^[A-Za-z0-9._+-]{1,40}$', description: 'a version' });
const PackageParams = Type.Object({ sha256: Sha256 });
/** A name for the operator's eyes; the digest and the manifest say what it is. */
const FileParams = Type.Object({ file: Type.String({ pattern: '^[A-Za-z0-9._+-]{1,200}$', description: 'a file name' }) });
const UpgradeParams = Type.Object({ id: Type.String({ pattern: '^[1-9][0-9]{0,9}$', description: 'a task number' }) });
const UpgradeBody = Type.Object(
  {
    version: Version,
    sites: Type.Array(Name, { minItems: 1, maxItems: MOST_SITES }),
    waves: Type.Optional(Type.Integer({ minimum: 1, maximum: MOST_WAVES })),
    waveSizes: Type.Optional(Type.Array(Type.Integer({ minimum: 1, maximum: MOST_SITES }), { minItems: 1, maxItems: MOST_WAVES })),
    failuresAllowed: Type.Optional(Type.Integer({ minimum: 0, maximum: MOST_SITES })),
    bytesPerSecond: Type.Optional(Type.Integer({ minimum: 10_000, maximum: 20_000_000 })),
    answerSeconds: Type.Optional(Type.Integer({ minimum: 60, maximum: 604_800 })),
    reinstall: Type.Optional(Type.Boolean()),
  },
  CLOSED,
);

/** Registers them below `/api/v1`, inside the scope that asks for the operator token. */
export async function softwareRoutes(app: FastifyInstance, context: DirectorContext, actor: string): Promise<void> {
  app.get('/software', async () => listPackages(context.db));
  app.delete<{ Params: { sha256: string } }>('/software/:sha256', { schema: { params: PackageParams } }, async (request, reply) => {
    await context.packages.remove(context, actor, request.params.sha256);
    return reply.code(204).send();
  });
  app.post<{ Body: UpgradeRequest }>('/upgrades', { schema: { body: UpgradeBody } }, async (request, reply) => {
    const id = await orderUpgrade(context, actor, request.body);
    return reply.code(201).send(await taskById(context.db, id));
  });
  app.post<{ Params: { id: string } }>('/upgrades/:id/cancel', { schema: { params: UpgradeParams } }, async (request) => {
    await cancelUpgrade(context, actor, Number(request.params.id));
    return taskById(context.db, Number(request.params.id));
  });
  await app.register(async (scope) => {
    // The body goes to the disk as it comes, whatever type it claims: `curl --upload-file` claims none.
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser('*', (_request, body: IncomingMessage, done) => done(null, body));
    scope.put<{ Params: { file: string }; Body: IncomingMessage }>('/software/:file', { schema: { params: FileParams }, config: { isUpload: true } }, async (request, reply) => {
      const length = request.headers['content-length'];
      return reply.code(201).send(await context.packages.add(context, actor, request.body, length === undefined ? undefined : Number(length)));
    });
  });
}
