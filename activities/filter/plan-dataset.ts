/** `planMappings` for the files of a data set: reads what it needs of them and no more. */
import { peek } from '../convert/convert.ts';
import { resolveMapping } from '../convert/mapping.ts';
import { dataFiles, type Located, readRecords } from '../convert/records.ts';
import { type MappingPlan, type PlanInput, planMappings, waysOfMapping } from './plan.ts';

export interface DatasetPlanInput extends Omit<PlanInput, 'records' | 'columns'> {
  /** Folder of the data set's files. */
  from: string;
}

export interface DatasetPlan {
  /** Rows read; where `isWhole` is false, there are more. */
  rows: number;
  isWhole: boolean;
  columns: string[];
  mappings: MappingPlan[];
}

/** Rows are held in memory here; convert and filter have no such limit. */
const MOST_ROWS = 20_000;

/** Throws DatasetRejected as convert would. */
export async function planDataset({ from, ...input }: DatasetPlanInput): Promise<DatasetPlan> {
  const files = await dataFiles(from);
  const { columns } = await peek(from, files);
  const ways = waysOfMapping(resolveMapping(input.spec.dataset.mapping, columns), columns);
  const needed = ways.flatMap((way) => [way.question, way.response, way.trace, way.reference, way.source, way.id]);
  const wanted = [...new Set(needed.filter((column) => column !== null))];
  const records: Located[] = [];
  let isWhole = true;
  for await (const { record, where } of readRecords(from, files, { columns: wanted })) {
    if (records.length === MOST_ROWS) {
      isWhole = false;
      break;
    }
    records.push({ record: Object.fromEntries(wanted.map((column) => [column, record[column]])), where });
  }
  return { rows: records.length, isWhole, columns, mappings: await planMappings({ ...input, records, columns }) };
}
