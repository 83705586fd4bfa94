// Package origin decides which web pages may use the server. A page from the server's own host
// always may. For other origins a Policy decides, and tells browsers the decision (the CORS
// protocol of the Fetch standard). Every transport and every feed uses the same Policy.
package origin
