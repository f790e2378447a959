// The model that tests run, and the page with it on offer.

import {catalogue, engine, smollm2} from "../scripts/models.mjs";
import {serve} from "../scripts/serve.mjs";

engine();
/** Paths of the model, as GGUF and `.tmac2.bin`. */
export const files = smollm2();
/** The page with this one model on offer. */
const offer = await catalogue(files.tmac2);
export const [entry] = offer.catalogue;

/** The page on a port of its own; `options` as `serve` takes them. */
export const servePage = (options = {}) => serve({...offer, ...options});
