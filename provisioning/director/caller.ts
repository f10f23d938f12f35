// Who calls: an operator by bearer token, a device by its certificate. Checked per route, never by address.
import type { TLSSocket } from 'node:tls';
import type { FastifyRequest } from 'fastify';
import { equalBytes } from '../../platform/bytes.ts';
import { WireError } from '../../platform/errors.ts';
import { certificateFacts } from '../../platform/x509.ts';
import { siteIdOfUris } from '../ztp/names.ts';
import { supersedeFormer } from './certificates.ts';
import type { DirectorContext } from './context.ts';
import { refusal } from './refusal.ts';
import type { SiteTable } from './store/tables.ts';
import { isOperatorToken } from './tokens.ts';

const LONGEST_TOKEN = 200;

/** @throws OperationalError `unauthorized` */
export async function requireOperator(context: DirectorContext, request: FastifyRequest): Promise<void> {
  const [scheme, token] = (request.headers.authorization ?? '').split(' ');
  if (scheme === 'Bearer' && token && token.length <= LONGEST_TOKEN && (await isOperatorToken(context, token))) return;
  throw refusal('unauthorized', 'this route needs the operator token', 'send "Authorization: Bearer <token>" with the token of operator.token in the data directory');
}

/**
 * The site whose device holds the client certificate of this connection.
 * @throws OperationalError `unauthorized` without a certificate in force, `revoked`, or `forbidden` for another role
 */
export async function requireDevice(context: DirectorContext, request: FastifyRequest, role?: 'branch' | 'controller'): Promise<SiteTable> {
  const socket = request.raw.socket as TLSSocket;
  const peer = socket.authorized ? socket.getPeerX509Certificate() : undefined;
  const next = 'connect with the device certificate that this Director issued';
  if (!peer) throw refusal('unauthorized', 'this route needs a device certificate', next);
  let facts;
  try {
    facts = certificateFacts(peer.raw);
  } catch (error) {
    if (error instanceof WireError) throw refusal('unauthorized', `the device certificate is not readable: ${error.message}`, next);
    throw error;
  }
  const issued = await context.db.selectFrom('certificates').selectAll().where('serial_number', '=', facts.serialNumber).executeTakeFirst();
  if (!issued || !equalBytes(issued.certificate_der, peer.raw) || siteIdOfUris(facts.uris, context.settings.provider) !== issued.site_id) {
    throw refusal('unauthorized', 'the certificate was not issued to a device by this Director', next);
  }
  if (issued.revoked_unix_ms !== null) throw refusal('revoked', 'the device certificate is revoked', 'use the newest certificate of the device, or prestage the box again');
  const site = await context.db.selectFrom('sites').selectAll().where('site_id', '=', issued.site_id).executeTakeFirst();
  if (!site || site.state === 'revoked') throw refusal('revoked', 'the site of this certificate is revoked', 'delete the site and create it again if the box may come back');
  await supersedeFormer(context, issued);
  if (role !== undefined && site.role !== role) throw refusal('forbidden', `${site.name} is a ${site.role}, this route is for a ${role}`, 'use the routes of the own role');
  return site;
}
