/** What a page gets of the program: the model and its files, as `onefetExplorer`. */
import './settings.ts';
import { createExplorer } from '../model.ts';
import { filesOf, setFiles } from './files.ts';

export { createExplorer, filesOf, setFiles };
