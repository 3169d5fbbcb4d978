//! Confined directory handles, a parallel tree walk and the content cache.
