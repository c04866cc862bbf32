# SPDX-License-Identifier: Apache-2.0
"""Login: the embedded development issuer, and verification of identity tokens.

The issuer: `api` its HTTP routes; `device_api` and `devices` logins by code from programs without
a browser; `answering` how errors are told; `local` who may use them; `forms` reading queries and
forms; `pages` the web pages; `messages` what workers ask the keeper; `keeper` key, codes, secret.
Verification: `verifier` tokens of configured issuers; `keys` where issuers' keys come from and
how long they are believed; `fetch` getting them over HTTPS.
"""
