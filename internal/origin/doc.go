// Package origin decides which web pages may use the server. A page of the server's own host
// always may. For pages of other origins a Policy decides, and tells browsers so (the CORS
// protocol of the Fetch standard). Every transport and every feed asks the same Policy.
package origin
