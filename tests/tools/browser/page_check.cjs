// node page_check.cjs CHROMIUM PAGE.html [SCREENSHOT.png] - opens a page as a phone and as a desktop, light and dark, and prints it.
// Fails on console errors, any request but for the page itself, text wider than the phone, an axis without a label, or an accessibility
// violation that axe-core calls serious or critical.
const { chromium } = require("playwright-core");
const axe = require("axe-core");
const os = require("os");
const path = require("path");

async function check(page, url) {
  const faults = [];
  page.on("console", (message) => message.type() === "error" && faults.push("console: " + message.text()));
  page.on("pageerror", (error) => faults.push("page: " + error));
  page.on("request", (request) => request.url() !== url && faults.push("request: " + request.url()));
  await page.goto(url);
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
  if (wide > 0) faults.push(`the page is ${wide} pixels wider than the screen`);
  const unlabelled = await page.evaluate(() =>
    [...document.querySelectorAll("svg.chart")].filter((svg) => !svg.querySelector("text.label")).length);
  if (unlabelled > 0) faults.push(`${unlabelled} charts have no labels at their axes`);
  const client = await page.context().newCDPSession(page);  // the page's policy forbids scripts, so axe comes through the debugger
  const evaluated = await client.send("Runtime.evaluate", {
    expression: axe.source + ";axe.run({resultTypes:['violations']}).then(r => JSON.stringify(r.violations))",
    awaitPromise: true, returnByValue: true,
  });
  for (const violation of JSON.parse(evaluated.result.value))
    if (["serious", "critical"].includes(violation.impact))
      faults.push(`axe: ${violation.id}: ${violation.help} (${violation.nodes.length}: ${violation.nodes[0].html.slice(0, 160)})`);
  const charts = await page.locator("svg.chart").count();
  return { faults, charts };
}

// What waits for a page that has crashed, waits for ever.
function unless_broken(page, work, seconds = 120) {
  const broken = new Promise((_, reject) => {
    page.on("crash", () => reject(new Error("the page crashed")));
    setTimeout(() => reject(new Error(`not done after ${seconds} s`)), seconds * 1000).unref();
  });
  return Promise.race([work, broken]);
}

(async () => {
  const [executablePath, file, screenshot] = process.argv.slice(2);
  const url = "file://" + path.resolve(file);
  let failed = false;
  for (const [name, device] of Object.entries({
    phone: { viewport: { width: 390, height: 844 }, colorScheme: "light" },
    dark: { viewport: { width: 390, height: 844 }, colorScheme: "dark" },
    desktop: { viewport: { width: 1200, height: 1400 }, colorScheme: "light" },
  })) {
    // One each: axe leaves little of it. A server, because it can be killed: a browser that has lost its page may never close.
    const server = await chromium.launchServer({ executablePath, args: ["--no-sandbox"] });
    const page = await (await chromium.connect(server.wsEndpoint())).newPage(device);
    const work = async () => {
      const result = await check(page, url);
      if (name === "desktop") {
        result.paper = (await page.pdf({ format: "A4" })).length;
        if (screenshot) await page.screenshot({ path: screenshot });
      }
      return result;
    };
    const { faults, charts, paper } = await unless_broken(page, work()).catch((error) => ({
      // axe takes some 450 MB for 20 runs, and a renderer is the first that Linux takes memory from.
      faults: [`browser: ${error.message.split("\n")[0]} (${Math.round(os.freemem() / 2 ** 20)} MiB of memory are free)`], charts: 0,
    }));
    await server.kill();
    console.log(`${name}: ${charts} charts, ${faults.length} faults`);
    for (const fault of faults) console.log("  " + fault);
    failed ||= faults.length > 0 || charts === 0;
    if (paper) console.log(`paper: ${paper} bytes`);
  }
  process.exit(failed ? 1 : 0);
})();
