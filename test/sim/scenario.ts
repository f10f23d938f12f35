// What `main.ts` can run: a scenario builds nodes in a world, lets time pass and says what did not hold.
import type { World } from './world.ts';

export interface ScenarioOptions {
  readonly nodes: number;
}

export interface Scenario {
  readonly name: string;
  /** One line for the usage text. */
  readonly about: string;
  /** Resolves with what did not hold, each a sentence; rejects when the world itself failed. */
  run(world: World, options: ScenarioOptions): Promise<readonly string[]>;
}
