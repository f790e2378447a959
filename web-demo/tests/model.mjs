// The model for the tests, and the page with it in the catalogue.

import {catalogue, engine, smollm2} from "../scripts/models.mjs";
import {serve} from "../scripts/serve.mjs";

engine();
/** Paths of the model, as GGUF and `.tmac2.bin`. */
export const files = smollm2();
/** A catalogue of this model alone. */
const offer = await catalogue(files.tmac2);
export const [entry] = offer.catalogue;

/** Serves the page on a free port; `options` are those of `serve`. */
export const servePage = (options = {}) => serve({...offer, ...options});
