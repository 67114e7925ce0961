// Texts through gettext: the catalogue of the page's language, loaded once; English needs none.

const language = document.documentElement.lang || "en";
const catalogue = language.startsWith("en") ? {} : await load();

async function load() {
  try {
    const response = await fetch(document.body.dataset.texts ?? "/texts.json");
    return (await response.json()).catalog ?? {};
  } catch {
    return {}; // English words are better than no page
  }
}

const fill = (text, values) => text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));

/** Translate `text`; `{name}` is replaced from `values`. */
export function _(text, values = {}) {
  const found = catalogue[text];
  return fill(typeof found === "string" ? found : text, values);
}

/** Translate a text with a number in it, given as `{n}`. */
export function ngettext(one, many, n, values = {}) {
  const forms = catalogue[one];
  const index = new Intl.PluralRules(language).select(n) === "one" ? 0 : 1;
  const text = Array.isArray(forms) ? (forms[index] ?? forms.at(-1)) : [one, many][index];
  return fill(text, { n, ...values });
}
