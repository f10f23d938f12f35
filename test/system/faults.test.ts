// Bad input and faults, on real processes: what the product refuses, what it says then, and what goes on meanwhile.
import { FACTS } from './fault-lab-main.ts';
import { FaultLabRun } from './fault-lab-run.ts';

describe('faults in a lab of real processes', function () {
  this.timeout(180_000);
  let run: FaultLabRun;

  before(() => {
    run = new FaultLabRun();
  });

  after(() => run.end());

  for (const { name } of FACTS) it(name, () => run.holds(name));
});
