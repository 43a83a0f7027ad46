/** What a page gets of the program: the model, its files and the numbers' form, as `onefetExplorer`. */
import './settings.ts';
import { formatSi, plain } from '../../format.ts';
import { createExplorer } from '../model.ts';
import { filesOf, setFiles } from './files.ts';

export { createExplorer, filesOf, formatSi, plain, setFiles };
