// Numbers with units, times in the person's own zone.

import { _ } from "./text.js";

const language = document.documentElement.lang || undefined;
const relative = new Intl.RelativeTimeFormat(language, { numeric: "auto" });
const exact = new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "medium" });
const day = new Intl.DateTimeFormat(language, { dateStyle: "medium" });
const STEPS = [["year", 31_536_000], ["month", 2_592_000], ["day", 86_400], ["hour", 3_600], ["minute", 60]];

/** 1536 → "1.5 KB"; powers of 1000, as file managers show them. */
export function bytes(n) {
  if (n === null || n === undefined) return "–";
  const units = ["B", "KB", "MB", "GB", "TB"];
  const step = n < 1000 ? 0 : Math.min(units.length - 1, Math.floor(Math.log10(n) / 3));
  const value = n / 1000 ** step;
  return `${number(value, value < 10 && step > 0 ? 1 : 0)} ${units[step]}`;
}

/** A number in the person's notation. */
export function number(n, digits = 0) {
  return n.toLocaleString(language, { maximumFractionDigits: digits });
}

/** 7241748480 → "7.2 B"; parameters of a model. */
export function parameters(n) {
  if (!n) return null;
  return n >= 1e9 ? `${number(n / 1e9, 1)} B` : `${number(n / 1e6, 0)} M`;
}

/** Seconds → "4 s", "2 min 5 s", "1 h 3 min". */
export function duration(seconds) {
  if (seconds < 10) return _("{n} s", { n: number(seconds, 1) });
  const s = Math.round(seconds);
  if (s < 60) return _("{n} s", { n: s });
  if (s < 3600) return _("{m} min {s} s", { m: Math.floor(s / 60), s: s % 60 });
  return _("{h} h {m} min", { h: Math.floor(s / 3600), m: Math.floor((s % 3600) / 60) });
}

/** 0.384 → "38 %". */
export const percent = (fraction) => `${Math.floor(fraction * 100)} %`;

/** An ISO time as "3 minutes ago". */
export function ago(iso) {
  const seconds = (new Date(iso) - Date.now()) / 1000;
  for (const [unit, size] of STEPS) {
    if (Math.abs(seconds) >= size) return relative.format(Math.trunc(seconds / size), unit);
  }
  return _("just now");
}

export const exactTime = (iso) => exact.format(new Date(iso));
export const onDay = (iso) => day.format(new Date(iso));

/** A <time> with the relative words and the exact time on hover. */
export function timeElement(iso) {
  const node = document.createElement("time");
  node.dateTime = iso;
  node.title = exactTime(iso);
  node.textContent = ago(iso);
  return node;
}
