// Jobs: work on whole files, in the background of the service.

import { call, ifOffered } from "./api.js";
import { byId, empty, h, show } from "./dom.js";

export async function start() {
  if ((await ifOffered(() => call("GET", "/jobs"))) === null) {
    show(byId("jobs-body"), empty("This service takes no jobs",
      h("p", {}, "Its API has no /jobs. Until it has, the command line works on whole files:"),
      h("pre", {}, h("code", {}, "polygrain embed texts.txt --out vectors.npy\npolygrain align one.txt other.txt"))));
  }
}
