// What happens to the onboarding of a branch when a credential is wrong or Director is away, and that it completes by
// itself, or as soon as what was wrong is corrected.
import { strict as assert } from 'node:assert';
import { join } from 'node:path';
import type { PrestagingRecord } from '../../firmware/configuration.ts';
import type { AlarmView, CertificatesView, IkeHistoryView, SystemView } from '../../firmware/views.ts';
import { PROVIDER } from '../../provisioning/lab/onboarding.ts';
import { STAGING_ADDRESS_FACT } from './fault-lab-addresses.ts';
import { HOSTILE_BRANCH_OPTIONS, HOSTILE_CONTROLLER_OPTIONS } from './fault-lab-key-routes.ts';
import { CONTROLLER, DIRECTOR } from './fault-lab.ts';
import type { Fact, FaultLab } from './fault-lab.ts';

const BRANCH = 'branch-2';
/** Sends IKE with a certificate of an authority that nobody trusts. */
const CLOCK_OF_1970 = ['--import', join(import.meta.dirname, 'fault-lab-clock.ts')];
const WRONG_CERTIFICATE = ['--import', join(import.meta.dirname, 'fault-lab-wrong-certificate.ts')];
const STOP_MS = 10_000;

interface WrongRecord {
  readonly what: string;
  readonly change: (record: PrestagingRecord) => PrestagingRecord;
  /** The cause, wherever it is shown. */
  readonly cause: RegExp;
  /** Wait until the backoff shows. */
  readonly isPatient: boolean;
}

const WRONG_RECORDS: readonly WrongRecord[] = [
  {
    what: 'PSK',
    change: (record) => ({ ...record, staging: { ...record.staging, psk: Buffer.alloc(32, 7).toString('base64') } }),
    cause: /pre-shared key/,
    isPatient: true,
  },
  {
    what: 'serial',
    change: (record) => ({ ...record, serial: 'LAB-OTHER-BOX' }),
    cause: /serial LAB-OTHER-BOX does not match LAB-BRANCH-2/,
    isPatient: false,
  },
  {
    what: 'tenant id',
    change: (record) => ({ ...record, staging: { ...record.staging, tenant: 2 } }),
    cause: /global tenant id 2 does not match 1/,
    isPatient: false,
  },
];

/** Failures of the staging connection from a time on, as the operator's shell shows its history. */
async function failures(lab: FaultLab, sinceUnixMs: number): Promise<readonly IkeHistoryView[]> {
  const history = await lab.shell.ask<readonly IkeHistoryView[]>(BRANCH, `show orgs org-services ${PROVIDER} ipsec vpn-profile staging ike history`);
  return history.filter((entry) => entry.event === 'IKE Failed' && Date.parse(entry.time) >= sinceUnixMs);
}

/** 1, 2 and 4 s, each spread by a quarter: the third pause is longer than the first on any machine. */
async function pausesGrow(lab: FaultLab, sinceUnixMs: number): Promise<void> {
  const attempts = await lab.until('four attempts', async () => {
    const entries = await failures(lab, sinceUnixMs);
    return entries.length >= 4 ? entries : undefined;
  });
  const [first, second, third, fourth] = attempts.map((entry) => Date.parse(entry.time)) as [number, number, number, number];
  assert.ok(second - first >= 700, `the first pause is ${second - first} ms`);
  assert.ok(fourth - third > second - first, `the first pause is ${second - first} ms, the third ${fourth - third} ms`);
}

function wrongRecordFact({ what, change, cause, isPatient }: WrongRecord): Fact {
  return {
    name: `a wrong ${what} fails the Task with that cause, is logged on both ends, and the branch tries again${isPatient ? ' with backoff' : ''}`,
    async prove(lab) {
      const right = lab.record(BRANCH);
      const since = { branch: lab.log(BRANCH, 'ipsec').length, controller: lab.log(CONTROLLER, 'ipsec').length };
      const started = lab.clock.unixMs();
      lab.writeRecord(BRANCH, change(right));
      lab.onboarding.startNode(BRANCH);
      try {
        await lab.taskFails(BRANCH, cause);
        for (const [node, from] of [[BRANCH, since.branch], [CONTROLLER, since.controller]] as const) {
          const line = await lab.logSays(node, 'ipsec', /IKE SA could not be established/, from);
          assert.match(line, cause);
          assert.match(line, /nextStep="[^"]+"/, `${node} says what to do`);
        }
        await lab.until('a second attempt', async () => ((await failures(lab, started)).length >= 2 ? true : undefined));
        if (isPatient) await pausesGrow(lab, started);
      } finally {
        await lab.network.node(BRANCH).stop(STOP_MS);
        lab.writeRecord(BRANCH, right);
      }
    },
  };
}

async function ztpDetail(lab: FaultLab, node: string): Promise<string> {
  const { services } = await lab.shell.ask<SystemView>(node, 'show system status');
  return services.find(({ service }) => service === 'ztp')!.detail;
}

export const ONBOARDING_FACTS: readonly Fact[] = [
  {
    name: 'a branch whose credentials are right is onboarded under hard fail, though its clock says 1970, which it shows as an alarm',
    async prove(lab) {
      await lab.onboarding.startDirector();
      await lab.onboarding.createInventory();
      await lab.onboarding.startController(HOSTILE_CONTROLLER_OPTIONS);
      // branch-1 connects to nobody without a current revocation list, which it gets while it stages.
      await lab.onboarding.prestage('branch-1', { certificates: { revocation: 'hard' } });
      await lab.onboarding.prestage(BRANCH);
      lab.onboarding.startNode('branch-1', CLOCK_OF_1970);
      await lab.onboarding.awaitOnboarded('branch-1');
      const { certificates, revocationPolicy } = await lab.shell.ask<CertificatesView>('branch-1', 'show certificates');
      assert.deepEqual([certificates.map(({ kind, revocation }) => `${kind} ${revocation}`), revocationPolicy], [['device good', 'trust anchor -'], 'hard']);
      const alarms = await lab.shell.ask<readonly AlarmView[]>('branch-1', 'show alarms');
      assert.match(alarms.find(({ name }) => name === 'host-clock-behind')!.cause, /^the host's clock said 1970-01-01/);
    },
  },
  ...WRONG_RECORDS.map(wrongRecordFact),
  STAGING_ADDRESS_FACT,
  {
    name: 'a branch that onboards while Director is away tries again, shows why it waits, and goes on when Director is back',
    async prove(lab) {
      await lab.network.node(DIRECTOR).kill();
      const since = lab.log(BRANCH, 'ztp').length;
      lab.onboarding.startNode(BRANCH, WRONG_CERTIFICATE);
      await lab.logSays(BRANCH, 'ztp', /Request to Director failed/, since);
      const detail = await lab.until('the reason in show system status', async () => {
        const text = await ztpDetail(lab, BRANCH);
        return /certificate: ./.test(text) ? text : undefined;
      });
      assert.match(detail, /172\.16\.100\.10/, `names Director: ${detail}`);
      const ofController = await lab.until("the Controller's reason", async () => (await ztpDetail(lab, CONTROLLER)) || undefined);
      assert.match(ofController, /Director failed/);
      lab.onboarding.startNode(DIRECTOR);
      await lab.until('the configuration step', async () => {
        const task = await lab.task(BRANCH);
        return task?.steps.some((step) => step.name === 'config' && step.state === 'COMPLETED') ? true : undefined;
      }, 60_000);
    },
  },
  {
    name: 'a wrong certificate fails the Task with that cause, is logged on both ends, and onboarding completes when corrected',
    async prove(lab) {
      const cause = /certificate/;
      await lab.taskFails(BRANCH, cause);
      for (const node of [BRANCH, CONTROLLER]) {
        const line = await lab.logSays(node, 'ipsec', /could not be established.*certificate/);
        assert.match(line, /nextStep="[^"]+"/, `${node} says what to do`);
      }
      await lab.network.node(BRANCH).stop(STOP_MS);
      lab.onboarding.startNode(BRANCH, HOSTILE_BRANCH_OPTIONS);
      await lab.onboarding.awaitOnboarded(BRANCH);
      await lab.allReach();
    },
  },
];
