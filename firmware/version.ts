// The software's own version, as package.json has it; Director compares it with what it wants.
import packageJson from '../package.json' with { type: 'json' };

export const PLATFORM_VERSION: string = packageJson.version;
