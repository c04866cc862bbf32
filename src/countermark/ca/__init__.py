# SPDX-License-Identifier: Apache-2.0
"""The certificate authority (Fulcio): identity token in, short-lived certificate out."""
