// Starts the keys of every page of a server.

import { mountHelp } from "./help.js";

mountHelp();
