// The three functions of the metadata proposal that @peculiar/x509's container reads and writes.

interface MetadataFunctions {
  defineMetadata(key: unknown, value: unknown, target: object): void;
  getOwnMetadata(key: unknown, target: object): unknown;
  getMetadata(key: unknown, target: object): unknown;
}

/** Adds the functions to Reflect unless they are there; call before the first import of a library that needs them. */
export function installReflectMetadata(): void {
  if ('getMetadata' in Reflect) return;
  const all = new WeakMap<object, Map<unknown, unknown>>();
  const functions: MetadataFunctions = {
    defineMetadata: (key, value, target) => {
      const own = all.get(target) ?? new Map<unknown, unknown>();
      all.set(target, own.set(key, value));
    },
    getOwnMetadata: (key, target) => all.get(target)?.get(key),
    getMetadata: (key, target) => {
      for (let at: object | null = target; at !== null; at = Object.getPrototypeOf(at) as object | null) {
        if (all.get(at)?.has(key) === true) return all.get(at)?.get(key);
      }
      return undefined;
    },
  };
  Object.assign(Reflect, functions);
}
