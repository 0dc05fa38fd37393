(* Over an ordered field, such as the reals: the determinants are positive, so that
   logarithms may be taken, and the order of the scores follows without any.

   `pd P`: P is symmetric and x' P x > 0 for every x but 0. Fisher informations are
   given by their roots, F = R' R. *)
From mathcomp Require Import all_ssreflect all_algebra.
From Formal Require Import determinants gain predictive.
Set Implicit Arguments.
Unset Strict Implicit.
Unset Printing Implicit Defensive.
Import GRing.Theory Num.Theory Order.Theory.
Local Open Scope ring_scope.

Section Order.
Variable Real : realFieldType.

Definition pd d (P : 'M[Real]_d) : Prop :=
  P^T = P /\ forall x : 'cV_d, x != 0 -> 0 < quad P x.

(* The number y' y is a sum of squares. *)
Fact length_is_nonnegative n (y : 'cV[Real]_n) : 0 <= number (y^T *m y).
Proof.
by rewrite /number mxE sumr_ge0 // => i _; rewrite mxE -expr2 sqr_ge0.
Qed.

(* And only 0 has length 0. *)
Fact length_is_positive n (y : 'cV[Real]_n) : y != 0 -> 0 < number (y^T *m y).
Proof.
move=> y0; rewrite lt_neqAle length_is_nonnegative andbT eq_sym.
apply: contra y0 => /eqP; rewrite /number mxE => sum0; apply/eqP/colP=> i.
have each j : true -> 0 <= y^T 0 j * y j 0 by rewrite mxE -expr2 sqr_ge0.
have := psumr_eq0P each sum0; move/(_ i isT)/eqP.
by rewrite !mxE -expr2 sqrf_eq0 => /eqP.
Qed.

(* T21: a positive definite precision has an inverse. *)
Lemma pd_is_invertible d (P : 'M[Real]_d) : pd P -> P \in unitmx.
Proof.
case=> _ pos; rewrite unitmxE unitfE; apply/negP => /det0P[v v0 vP0].
have := pos v^T; rewrite /quad trmxK vP0 mul0mx /number mxE ltxx.
by rewrite -(inj_eq trmx_inj) trmxK trmx0 v0 => /(_ isT).
Qed.

(* T21: P + R' R is positive definite when P is. *)
Lemma pd_plus_fisher r d (P : 'M[Real]_d) (R : 'M[Real]_(r, d)) :
  pd P -> pd (P + R^T *m R).
Proof.
case=> sym pos; split=> [|x x0]; first by rewrite linearD /= sym trmx_mul trmxK.
have -> : quad (P + R^T *m R) x = quad P x + number ((R *m x)^T *m (R *m x)).
  by rewrite /quad mulmxDr mulmxDl trmx_mul !mulmxA /number mxE.
by rewrite ltr_paddr ?pos ?length_is_nonnegative.
Qed.

(* T21: the inverse of a positive definite matrix is positive definite. *)
Lemma pd_inverse d (P : 'M[Real]_d) : pd P -> pd (inv P).
Proof.
move=> pdP; have uP := pd_is_invertible pdP; case: pdP => sym pos.
have symI : (inv P)^T = inv P by rewrite trmx_inv sym.
split=> // x x0; have -> : quad (inv P) x = quad P (inv P *m x).
  by rewrite /quad trmx_mul symI mulmxKV // mulmxA.
apply: pos; apply: contraNneq x0 => Px0.
by rewrite -[x](mulKVmx uP) Px0 mulmx0.
Qed.

(* The quadratic form of P is nowhere negative. *)
Fact quad_is_nonnegative d (P : 'M[Real]_d) x : pd P -> 0 <= quad P x.
Proof.
case=> _ pos; case: (eqVneq x 0) => [->|/pos/ltW //].
by rewrite /quad mulmx0 /number mxE.
Qed.

(* T21: the matrices I + R P^-1 R' that Woodbury and the r x r forms invert. *)
Lemma pd_gram r d (P : 'M[Real]_d) (R : 'M[Real]_(r, d)) :
  pd P -> pd (I + R *m inv P *m R^T).
Proof.
move=> pdP; have pdI := pd_inverse pdP; split=> [|x x0].
  by rewrite linearD /= trmx1 !trmx_mul trmxK pdI.1 mulmxA.
have -> : quad (I + R *m inv P *m R^T) x
    = number (x^T *m x) + quad (inv P) (R^T *m x).
  by rewrite /quad mulmxDr mulmx1 mulmxDl trmx_mul trmxK !mulmxA /number mxE.
by rewrite ltr_paddr ?quad_is_nonnegative ?length_is_positive.
Qed.

(* T30, T34: l I + S of any gradients, l > 0, has an inverse: as `similarity.v` asks. *)
Lemma pd_regularised_similarity n d (l : Real) (G : 'M[Real]_(n, d)) :
  0 < l -> pd (l%:M + G *m G^T).
Proof.
move=> l0; rewrite -{1}[G]trmxK; apply: pd_plus_fisher; split=> [|x x0].
  exact: tr_scalar_mx.
rewrite /quad mul_mx_scalar -scalemxAl /number mxE mulr_gt0 //.
exact: length_is_positive.
Qed.

(* The Schur complement of a corner is positive definite when the whole is. *)
Fact pd_schur d (P : 'M[Real]_(1 + d)) :
  pd P ->
  0 < number (ulsubmx P)
  /\ pd (drsubmx P - dlsubmx P *m inv (ulsubmx P) *m ursubmx P).
Proof.
case=> sym pos; set a := ulsubmx P; set B := ursubmx P; set C := drsubmx P.
have low : dlsubmx P = B^T by rewrite /B trmx_ursub sym.
have whole : P = block_mx a B B^T C by rewrite -low submxK.
have a_pos : 0 < number a.
  have := pos (col_mx 1%:M 0); rewrite /quad whole tr_col_mx trmx1 trmx0.
  rewrite mul_row_block mul_row_col !mul1mx !mul0mx !mulmx0 mulmx1 !addr0.
  by apply; rewrite col_mx_eq0 oner_eq0.
have ua : a \in unitmx by rewrite unitmxE unitfE det_mx11 lt0r_neq0.
split=> //; rewrite low; split=> [|y y0].
  rewrite linearB /= trmx_drsub sym !trmx_mul trmxK trmx_inv trmx_ulsub sym.
  by rewrite mulmxA.
set S := _ - _; pose x := col_mx (- (inv a *m B *m y)) y.
have -> : quad S y = quad P x.
  rewrite /quad -!mulmxA whole mul_block_col mulmxN !mulmxA mulmxV // mul1mx addNr.
  rewrite tr_col_mx mul_row_col mulmx0 add0r mulmxN /S.
  by rewrite -[y^T *m _ *m y]mulmxA mulmxBl [_ + C *m y]addrC !mulmxA.
by apply: pos; rewrite col_mx_eq0 negb_and y0 orbT.
Qed.

(* T21: the determinant of a positive definite matrix is positive: this is where the
   log-determinants of the book come from. By induction over Schur complements. *)
Lemma pd_determinant_is_positive d (P : 'M[Real]_d) : pd P -> 0 < \det P.
Proof.
elim: d P => [|d IH] P pdP; first by rewrite det_mx00 ltr01.
suff step (Q : 'M[Real]_(1 + d)) : pd Q -> 0 < \det Q by exact: step.
move=> pdQ; have [a_pos pdS] := pd_schur pdQ.
have ua : ulsubmx Q \in unitmx by rewrite unitmxE unitfE det_mx11 lt0r_neq0.
have := block_determinant_first (ursubmx Q) (dlsubmx Q) (drsubmx Q) ua.
by rewrite submxK => ->; rewrite det_mx11 mulr_gt0 // IH.
Qed.

(* Another direction t lowers what g has still to tell: x' P^-1 x falls. *)
Fact gain_falls_by_one d (P : 'M[Real]_d) (t g : 'cV[Real]_d) :
  pd P -> quad (inv (P + t *m t^T)) g <= quad (inv P) g.
Proof.
move=> pdP; have pdI := pd_inverse pdP.
have w0 : 0 < 1 + quad (inv P) t by rewrite ltr_paddr ?ltr01 ?quad_is_nonnegative.
have := @output_variance_after _ d (inv P) t g 1.
rewrite unitmx_inv (pd_is_invertible pdP) unitr1 unitfE lt0r_neq0 // invmxK invr1.
rewrite scale1r => -> //.
have -> : number (t^T *m inv P *m g) = number (g^T *m inv P *m t).
  transitivity (number (t^T *m inv P *m g)^T); first by rewrite /number [RHS]mxE.
  by rewrite !trmx_mul trmxK trmx_inv pdP.1 mulmxA.
by rewrite ler_subl_addr ler_addl mulr_ge0 ?invr_ge0 ?(ltW w0) // -expr2 sqr_ge0.
Qed.

(* T25: what g has still to tell falls with any set of directions, the rows of T. *)
Lemma gain_falls n d (P : 'M[Real]_d) (T : 'M[Real]_(n, d)) (g : 'cV[Real]_d) :
  pd P -> quad (inv (P + T^T *m T)) g <= quad (inv P) g.
Proof.
move=> pdP; elim: n T => [|n IH] T; first by rewrite [T]flatmx0 mulmx0 addr0.
suff step (U : 'M[Real]_(1 + n, d)) :
  quad (inv (P + U^T *m U)) g <= quad (inv P) g by exact: step.
rewrite -[U]vsubmxK stacked_roots_add addrCA addrC; apply: le_trans (IH (dsubmx U)).
rewrite -{2}[usubmx U]trmxK.
by apply: gain_falls_by_one; apply: pd_plus_fisher.
Qed.

(* T25: log det(P + F) is submodular. What R adds to P and T, det P_TR / det P_T, is at
   most what it adds to P alone, det P_R / det P. *)
Lemma log_det_is_submodular m n d (P : 'M[Real]_d) (T : 'M[Real]_(m, d))
    (R : 'M[Real]_(n, d)) :
  pd P ->
  \det (P + T^T *m T + R^T *m R) * \det P
    <= \det (P + T^T *m T) * \det (P + R^T *m R).
Proof.
elim: n P R => [|n IH] P R pdP; first by rewrite [R]flatmx0 mulmx0 !addr0.
suff step (U : 'M[Real]_(1 + n, d)) :
  \det (P + T^T *m T + U^T *m U) * \det P
    <= \det (P + T^T *m T) * \det (P + U^T *m U) by exact: step.
rewrite -[U]vsubmxK stacked_roots_add !addrA.
set g := usubmx U; set V := dsubmx U; set P1 := P + g^T *m g.
have pdP1 : pd P1 by apply: pd_plus_fisher.
have rest := IH P1 V pdP1; rewrite [P1 + _]addrAC in rest.
have pos := pd_determinant_is_positive.
have pdP_T : pd (P + T^T *m T) by apply: pd_plus_fisher.
have grow Q : pd Q -> \det (Q + g^T *m g) = \det Q * (1 + quad (inv Q) g^T).
  by move=> pdQ; rewrite determinant_rank_one ?pd_is_invertible // /quad trmxK.
have one : \det (P + T^T *m T + g^T *m g) * \det P <= \det (P + T^T *m T) * \det P1.
  rewrite /P1 !grow // -mulrA ler_pmul2l ?pos // mulrC ler_pmul2l ?pos // ler_add2l.
  exact: gain_falls.
rewrite -(ler_pmul2r (pos _ _ pdP1)) mulrAC [X in _ <= X]mulrAC.
apply: le_trans (ler_wpmul2r (ltW (pos _ _ pdP)) rest) _.
by rewrite [X in X <= _]mulrAC ler_pmul2r // pos //; apply: pd_plus_fisher.
Qed.

(* T25, T45: it is monotone too: no candidate takes information away, EIG >= 0. *)
Lemma log_det_is_monotone n d (P : 'M[Real]_d) (R : 'M[Real]_(n, d)) :
  pd P -> \det P <= \det (P + R^T *m R).
Proof.
elim: n P R => [|n IH] P R pdP; first by rewrite [R]flatmx0 mulmx0 addr0.
suff step (U : 'M[Real]_(1 + n, d)) : \det P <= \det (P + U^T *m U) by exact: step.
rewrite -[U]vsubmxK stacked_roots_add addrA; set g := usubmx U.
apply: le_trans (IH (P + g^T *m g) _ _); last exact: pd_plus_fisher.
rewrite determinant_rank_one ?pd_is_invertible // -{1}[g]trmxK -/(quad (inv P) g^T).
rewrite ler_pmulr ?pd_determinant_is_positive // ler_addl quad_is_nonnegative //.
exact: pd_inverse.
Qed.

(* T45: EIG is not negative: its determinant is at least 1. *)
Lemma eig_is_nonnegative n d (P : 'M[Real]_d) (A : 'M[Real]_(n, d)) :
  pd P -> 1 <= \det (I + A^T *m A *m inv P).
Proof.
move=> pdP; have pos := pd_determinant_is_positive pdP.
rewrite -(ler_pmul2l pos) mulr1 -gain_as_ratio ?pd_is_invertible //.
exact: log_det_is_monotone.
Qed.

(* T45: JEPIG is not negative: what A tells under P + FE is at most what it tells
   under P. And it is at most EIG, as what is subtracted is an EIG, not negative. *)
Lemma jepig_is_nonnegative m n d (P : 'M[Real]_d) (A : 'M[Real]_(m, d))
    (E : 'M[Real]_(n, d)) :
  pd P ->
  \det (I + A^T *m A *m inv (P + E^T *m E)) <= \det (I + A^T *m A *m inv P).
Proof.
move=> pdP; have pdQ := pd_plus_fisher E pdP.
rewrite -(ler_pmul2l (pd_determinant_is_positive pdQ)).
rewrite -(ler_pmul2r (pd_determinant_is_positive pdP)).
rewrite -gain_as_ratio ?pd_is_invertible // -mulrA [X in _ <= _ * X]mulrC.
rewrite -gain_as_ratio ?pd_is_invertible //; exact: log_det_is_submodular.
Qed.

(* T45, T50: more evaluation inputs, more JEPIG. So JEPIG of a single one, whose mean is
   EPIG, is at most JEPIG of them all. *)
Lemma jepig_grows_with_evaluation k m n d (P : 'M[Real]_d) (A : 'M[Real]_(k, d))
    (E : 'M[Real]_(m, d)) (E' : 'M[Real]_(n, d)) :
  pd P ->
  \det (I + A^T *m A *m inv (P + (col_mx E E')^T *m col_mx E E'))
    <= \det (I + A^T *m A *m inv (P + E^T *m E)).
Proof.
move=> pdP; rewrite stacked_roots_add addrA; apply: jepig_is_nonnegative.
exact: pd_plus_fisher.
Qed.
End Order.
