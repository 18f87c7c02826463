// Global setup of the projects that boot guests: their compiled code goes to a folder of its own, not to the user's.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export default function setup(): () => void {
  const folder = mkdtempSync(join(tmpdir(), 'troupe-regions-'));
  process.env['TROUPE_TRANSLATION_CACHE'] = folder;
  return () => rmSync(folder, { recursive: true, force: true });
}
