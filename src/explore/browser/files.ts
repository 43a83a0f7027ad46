/** The files of a page: texts by path below `/`, set before anything is read. Nothing else exists, and nothing is written. */

/** What node:fs is asked of files that are only read. */
export interface FileSource {
  /** undefined: there is no such file. */
  read(path: string): string | undefined;
  /** Names in a folder; undefined: there is no such folder. */
  list(path: string): readonly string[] | undefined;
}

let source: FileSource = { read: () => undefined, list: () => undefined };

export const setFiles = (files: FileSource): void => {
  source = files;
};

export const currentFiles = (): FileSource => source;

/** Files by path, as in `/spice/planar32lp/cost.yaml`. */
export function filesOf(texts: Readonly<Record<string, string>>): FileSource {
  const paths = Object.keys(texts);
  return {
    read: (path) => (Object.hasOwn(texts, path) ? texts[path] : undefined),
    list: (folder) => {
      const within = folder.endsWith('/') ? folder : `${folder}/`;
      const names = new Set(
        paths.flatMap((path) => (path.startsWith(within) ? [path.slice(within.length).split('/')[0]] : [])),
      );
      return names.size > 0 ? [...names] : undefined;
    },
  };
}
