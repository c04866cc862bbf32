# SPDX-License-Identifier: Apache-2.0
"""The certificate authority: Fulcio's API. Short certificates for identities, each in a CT log.

`messages` between worker and keeper; `possession` which keys may be certified; `api` HTTP, v1
and v2 (workers); `authority` the issuing chain and its key; `keeper` issues (keeper process).
Specifications: Fulcio's certificate specification and API, RFC 6962 for precertificates.
"""
