/** Constants of nature: exact SI values (2019), CODATA 2018 for the permittivity. */
export const ELEMENTARY_CHARGE_C = 1.602176634e-19;
export const BOLTZMANN_J_PER_K = 1.380649e-23;
export const VACUUM_PERMITTIVITY_F_PER_M = 8.8541878128e-12;
