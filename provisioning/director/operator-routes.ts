// What operators (and the GUI, the shell and the lab on their behalf) may ask for, all under the operator token.
import type { FastifyInstance } from 'fastify';
import { Type } from 'typebox';
import { AddressWithLength, Circuits, KeyingChange, LanPort, Name, Serial, Southbound } from '../ztp/schema.ts';
import { listAlarms } from './alarms.ts';
import { requireOperator } from './caller.ts';
import type { DirectorContext } from './context.ts';
import { createController, listControllers } from './controllers.ts';
import type { ControllerRequest } from './controllers.ts';
import { orderRekey } from './directives.ts';
import type { RekeyRequest } from './directives.ts';
import { orderActivation, orderEnrolment, orderPrestaging, revokeSite } from './orders.ts';
import { createOrganization, createTransport, listOrganizations, listTransports } from './organizations.ts';
import type { OrganizationRequest } from './organizations.ts';
import { createSite, deleteSite, listSites, siteByName, siteView, updateSite } from './sites.ts';
import type { SiteChange, SiteRequest } from './sites.ts';
import { Version, softwareRoutes } from './software-routes.ts';
import { listTasks, taskById, vosTask } from './tasks.ts';

const CLOSED = { additionalProperties: false } as const;
const OPERATOR = 'operator';
const TASKS_SHOWN = 200;
const AUDIT_SHOWN = 500;

const Tenant = Type.Integer({ minimum: 1, maximum: 0xffff });
const SiteId = Type.Integer({ minimum: 1, maximum: 16_383 });
const Seconds = Type.Integer({ minimum: 0, maximum: 86_400 });
const Tenants = Type.Array(Type.Object({ organization: Name, lanPorts: Type.Array(LanPort, { maxItems: 64 }) }, CLOSED), { maxItems: 1024 });

const NamedParams = Type.Object({ name: Name });
const TaskParams = Type.Object({ id: Type.String({ pattern: '^[1-9][0-9]{0,9}$', description: 'a task number' }) });
const TenantParams = Type.Object({ tenant: Type.String({ pattern: '^[1-9][0-9]{0,4}$', description: 'a tenant id' }) });

const OrganizationBody = Type.Object({ name: Name, tenant: Type.Optional(Tenant), overlayPool: Type.Optional(AddressWithLength), keying: Type.Optional(KeyingChange) }, CLOSED);
const TransportBody = Type.Object({ name: Name }, CLOSED);
const ControllerBody = Type.Object(
  {
    name: Name,
    serial: Serial,
    siteId: Type.Optional(SiteId),
    circuits: Circuits,
    southbound: Type.Optional(Southbound),
    stagingPool: Type.Optional(AddressWithLength),
    softwareVersion: Type.Optional(Version),
  },
  CLOSED,
);
const SiteBody = Type.Object({ name: Name, serial: Serial, siteId: Type.Optional(SiteId), circuits: Circuits, tenants: Tenants, softwareVersion: Type.Optional(Version) }, CLOSED);
const SiteChangeBody = Type.Object(
  { circuits: Type.Optional(Circuits), tenants: Type.Optional(Tenants), softwareVersion: Type.Optional(Type.Union([Version, Type.Null()])) },
  CLOSED,
);
const ActivationBody = Type.Object({ lifetimeSeconds: Type.Optional(Type.Integer({ minimum: 60, maximum: 31_536_000 })) }, CLOSED);
const RekeyBody = Type.Object(
  {
    reason: Type.Optional(Type.Integer({ minimum: 1, maximum: 5 })),
    delaySeconds: Type.Optional(Seconds),
    spreadSeconds: Type.Optional(Seconds),
    deadlineSeconds: Type.Optional(Type.Integer({ minimum: 10, maximum: 86_400 })),
  },
  CLOSED,
);

interface Named {
  Params: { name: string };
}

function directorUrl(address: string, port: number): string {
  return `https://${address.includes(':') ? `[${address}]` : address}:${port}`;
}

function inventoryRoutes(app: FastifyInstance, context: DirectorContext): void {
  app.get('/organizations', async () => listOrganizations(context.db));
  app.post<{ Body: OrganizationRequest }>('/organizations', { schema: { body: OrganizationBody } }, async (request, reply) => reply.code(201).send(await createOrganization(context, OPERATOR, request.body)));
  app.get('/transports', async () => listTransports(context.db));
  app.post<{ Body: { name: string } }>('/transports', { schema: { body: TransportBody } }, async (request, reply) => {
    await createTransport(context, OPERATOR, request.body.name);
    return reply.code(201).send({ name: request.body.name });
  });
  app.get('/controllers', async () => listControllers(context));
  app.post<{ Body: ControllerRequest }>('/controllers', { schema: { body: ControllerBody } }, async (request, reply) => reply.code(201).send(await createController(context, OPERATOR, request.body)));
  app.get('/sites', async () => listSites(context, 'branch'));
  app.post<{ Body: SiteRequest }>('/sites', { schema: { body: SiteBody } }, async (request, reply) => reply.code(201).send(await createSite(context, OPERATOR, request.body)));
  app.get<Named>('/sites/:name', { schema: { params: NamedParams } }, async (request) => siteView(context.db, context, await siteByName(context.db, request.params.name)));
  app.patch<Named & { Body: SiteChange }>('/sites/:name', { schema: { params: NamedParams, body: SiteChangeBody } }, async (request) => updateSite(context, OPERATOR, request.params.name, request.body));
  app.delete<Named>('/sites/:name', { schema: { params: NamedParams } }, async (request, reply) => {
    await deleteSite(context, OPERATOR, request.params.name);
    return reply.code(204).send();
  });
}

function orderRoutes(app: FastifyInstance, context: DirectorContext): void {
  app.post<Named>('/sites/:name/prestaging', { schema: { params: NamedParams } }, async (request, reply) => reply.code(201).send(await orderPrestaging(context, OPERATOR, request.params.name)));
  app.post<Named & { Body: { lifetimeSeconds?: number } }>('/sites/:name/activation', { schema: { params: NamedParams, body: ActivationBody } }, async (request, reply) =>
    reply.code(201).send(await orderActivation(context, OPERATOR, request.params.name, request.body.lifetimeSeconds)),
  );
  app.post<Named>('/sites/:name/revoke', { schema: { params: NamedParams } }, async (request) => {
    await revokeSite(context, OPERATOR, request.params.name);
    return siteView(context.db, context, await siteByName(context.db, request.params.name));
  });
  app.post<Named>('/controllers/:name/enrolment', { schema: { params: NamedParams } }, async (request, reply) => {
    const url = directorUrl(context.settings.addresses[0]!, context.settings.port);
    return reply.code(201).send(await orderEnrolment(context, OPERATOR, request.params.name, url));
  });
  app.post<{ Params: { tenant: string }; Body: RekeyRequest }>('/tenants/:tenant/rekey', { schema: { params: TenantParams, body: RekeyBody } }, async (request, reply) =>
    reply.code(201).send(await orderRekey(context, OPERATOR, Number(request.params.tenant), request.body)),
  );
}

function watchRoutes(app: FastifyInstance, context: DirectorContext): void {
  app.get('/tasks', async () => listTasks(context.db, TASKS_SHOWN));
  app.get<{ Params: { id: string } }>('/tasks/:id', { schema: { params: TaskParams } }, async (request) => taskById(context.db, Number(request.params.id)));
  app.get('/alarms', async () => listAlarms(context));
  app.get('/audit', async () => context.db.selectFrom('audit').selectAll().orderBy('id', 'desc').limit(AUDIT_SHOWN).execute());
}

/** Registers everything that needs the operator token, below `/api/v1` and VOS's own task path. */
export async function operatorRoutes(app: FastifyInstance, context: DirectorContext): Promise<void> {
  app.addHook('onRequest', async (request) => requireOperator(context, request));
  await app.register(
    async (scope) => {
      inventoryRoutes(scope, context);
      orderRoutes(scope, context);
      watchRoutes(scope, context);
      await softwareRoutes(scope, context, OPERATOR);
    },
    { prefix: '/api/v1' },
  );
  app.get<{ Params: { id: string } }>('/vnms/tasks/task/:id', { schema: { params: TaskParams } }, async (request) => vosTask(await taskById(context.db, Number(request.params.id))));
}
