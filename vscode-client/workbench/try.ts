import { readFileSync } from 'node:fs';
import { Workbench } from './harness.ts';
const w = await Workbench.open({ 'shop.py': readFileSync('/work/main/examples/shop.py','utf8') }, {settings: {'starling.python': ''}});
try {
  await w.edit('shop.py');
  await w.notified(/Starling needs its Python part/);
  await w.page.locator('.notification-toast .monaco-button', { hasText: 'Install' }).first().click();
  const t = Date.now();
  await w.page.waitForTimeout(20000); await w.shot('installing');
  await w.page.locator('.notification-list-item-message', { hasText: /Starling is installed|could not|rror/ }).first().waitFor({timeout: 480000});
  console.log('installed after', (Date.now() - t) / 1000, 's');
  await w.shot('installed');
  await w.goTo(30, 14);
  console.log(await w.suggestUntil((rows) => rows.some((r) => r.startsWith('★'))));
  console.log(w.processes().filter((p) => /lsp_server|langserver/.test(p)).map((p) => p.slice(0, 160)));
} catch (e) { console.log(e); await w.shot('failed'); }
finally { await w.close(); }
