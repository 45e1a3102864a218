/** Tests over one workbench. Imports no browser, so that the runner's own tests can use it. */

import { test } from 'node:test';

interface Pictured {
  shot(name: string): Promise<void>;
}

/** A `test` that leaves a picture of the workbench where it fails. */
export function scenarios(workbench: () => Pictured): (name: string, run: () => Promise<void>) => void {
  return (name, run) => {
    test(name, async () => {
      try {
        await run();
      } catch (error) {
        await picture(workbench, `failed ${name}`.replaceAll(/\W+/g, '-'));
        throw error;
      }
    });
  };
}

/** A picture that can't be taken does not hide the test's own error. */
async function picture(workbench: () => Pictured, name: string): Promise<void> {
  try {
    await workbench().shot(name);
  } catch (error) {
    console.error(`no picture ${name}: ${error}`);
  }
}
