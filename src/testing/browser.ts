/** Pages in a real browser: chromium, where one is installed. */
import { existsSync } from 'node:fs';
import process, { chdir, cwd } from 'node:process';
import { pathToFileURL } from 'node:url';
import type { Browser } from 'playwright-core';
import { expect } from 'vitest';

const CHROMIUM = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find((path) =>
  existsSync(path),
);

/** Why no page can be opened here, or undefined. */
export const missingBrowser = CHROMIUM === undefined ? 'no chromium installed' : undefined;

/** Starts a browser; who starts it closes it. */
export async function startBrowser(): Promise<Browser> {
  const { chromium } = await import('playwright-core');
  // It keeps the working folder that it saw first, for whoever asks `process`: test files of one worker would go to each other's.
  Object.assign(process, { cwd, chdir });
  return chromium.launch({ executablePath: CHROMIUM!, args: ['--no-sandbox', '--disable-gpu'] });
}

/**
 * Opens a page from its file at a width in px and expects that every figure is drawn, without an error, a dialog, a
 * request or sideways scrolling. Returns the number of figures and the text of the heading.
 */
export async function expectPageDraws(
  browser: Browser,
  path: string,
  width: number,
): Promise<{ figures: number; heading: string }> {
  const page = await browser.newPage({ viewport: { width, height: 900 } });
  try {
    const errors: string[] = [];
    const requests: string[] = [];
    page.on('console', (message) => {
      if (message.type() !== 'log') errors.push(message.text());
    });
    page.on('pageerror', (error) => errors.push(error.message));
    page.on('dialog', (dialog) => errors.push(`dialog ${dialog.message()}`));
    page.on('request', (request) => {
      if (!/^(data|blob):/.test(request.url())) requests.push(request.url());
    });
    const url = pathToFileURL(path).href;
    await page.goto(url);
    await page.waitForSelector('body[data-figures]', { timeout: 50_000 });
    const figures = await page.locator('.figure').count();
    expect(await page.locator('body').getAttribute('data-figures')).toBe(String(figures));
    expect(await page.locator('.figure .main-svg').count()).toBeGreaterThanOrEqual(figures);
    const overflow = await page
      .locator('html')
      .evaluate((html: { scrollWidth: number; clientWidth: number }) => html.scrollWidth - html.clientWidth);
    expect(overflow).toBeLessThanOrEqual(0);
    expect(errors).toEqual([]);
    expect(requests).toEqual([url]);
    return { figures, heading: (await page.locator('h1').textContent()) ?? '' };
  } finally {
    await page.close();
  }
}
