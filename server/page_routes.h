// The page at "/": what the node does and why, and a playground. Its files are
// part of the binary; it shows what /health, /debug and the API tell, and asks
// for a key where they need one.
#pragma once

#include "server/http/router.h"

namespace braid::server {

//   /   /page.css   /page.js   /openapi.json, which the page links to
void AddPageRoutes(Router& router);

}  // namespace braid::server
