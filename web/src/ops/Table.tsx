import { type ReactNode, useLayoutEffect, useRef, useState } from "react";
import { placeOf } from "./place.ts";

export interface Column<Row> {
  title: string;
  value: (row: Row) => string | number;
  show?: (row: Row) => ReactNode;
}

/** Rows in the order of a column, which a click on its title chooses, and turns around. They come and go by themselves: the focus of
 * one that goes is the next one's. */
export function Table<Row>(props: { name: string; columns: Column<Row>[]; rows: Row[]; id: (row: Row) => string; unknown?: boolean }) {
  const [order, setOrder] = useState<{ column: number; down: boolean } | null>(null);
  const body = useRef<HTMLTableSectionElement>(null);
  const back = body.current?.contains(document.activeElement) ? placeOf(document.activeElement) : null;
  useLayoutEffect(() => {
    if (document.activeElement === document.body) back?.();
  });
  const rows = order ? sorted(props.rows, props.columns[order.column]!, order.down) : props.rows;
  return (
    <section aria-label={props.name} tabIndex={-1}>
      <h2>{props.name}</h2>
      <div className="ops-table">
        <table>
          <thead>
            <tr>
              {props.columns.map(({ title }, column) => (
                <th key={title} scope="col" aria-sort={order?.column === column ? (order.down ? "descending" : "ascending") : "none"}>
                  <button className="quiet" onClick={() => setOrder({ column, down: order?.column === column && !order.down })}>
                    {title}
                  </button>
                </th>
              ))}
            </tr>
          </thead>
          <tbody ref={body}>
            {rows.map((row) => (
              <tr key={props.id(row)}>
                {props.columns.map(({ title, value, show }) => (
                  <td key={title}>{show ? show(row) : value(row)}</td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {rows.length === 0 && <p className="soft">{props.unknown ? "Not known: it could not be asked." : "None."}</p>}
    </section>
  );
}

function sorted<Row>(rows: Row[], column: Column<Row>, down: boolean): Row[] {
  const sign = down ? -1 : 1;
  return [...rows].sort((a, b) => {
    const [left, right] = [column.value(a), column.value(b)];
    return sign * (typeof left === "number" && typeof right === "number" ? left - right : String(left).localeCompare(String(right)));
  });
}
